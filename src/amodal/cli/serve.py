"""`amodal serve`: the web page and the HTTP service."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UsageError
from ..core.extras import missing
from .common import ModelOptions, hint

if TYPE_CHECKING:
    from ..serve.config import Config


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; anything but this machine needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    token: Annotated[
        str | None, typer.Option(envvar="AMODAL_TOKEN", show_envvar=True, help="What callers must show.")
    ] = None,
    model: ModelOptions = ModelOptions(),
    media: Annotated[Path | None, typer.Option(help="Folder of Label Studio's local files.")] = None,
    queue: Annotated[int, typer.Option(min=1, help="Waiting jobs; the next one is refused (429).")] = 64,
    keep: Annotated[float, typer.Option(min=0.1, help="Minutes that unused photos and results are kept.")] = 30.0,
    limit: Annotated[float, typer.Option(min=1, help="Seconds that a job may run.")] = 600.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every request.")] = False,
) -> None:
    """Serve the web page and the HTTP API. Starts at once with the embedded default; Ctrl-C ends it."""
    from ..serve.config import Config, Limits

    if media is not None and not media.is_dir():
        raise UsageError(f"there is no folder {media}; --media names the folder that Label Studio's local files lie in")
    limits = Limits(queue=queue, keep_s=keep * 60, job_s=limit)
    config = Config(host, port, token, model.choice().named(), model.device, media, limits)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(message)s")
    run_service(config)


def run_service(config: Config) -> None:
    """Bind, say where, serve until stopped.

    Raises:
        MissingExtraError: the extra is not installed.
        UsageError: the address cannot be taken.
    """
    import dataclasses

    try:
        from ..serve.api import create_app
        from ..serve.server import Server
    except ImportError as error:
        raise missing("amodal serve", error, "serve") from error

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {config.host}:{config.port} ({error.strerror}); choose another port with --port, or 0"
        ) from error
    port = listener.getsockname()[1]
    app = create_app(dataclasses.replace(config, port=port))
    shown = f"[{config.host}]" if ":" in config.host else config.host
    names = [shown] if config.host not in ("0.0.0.0", "::") else ["127.0.0.1", *own_addresses(family)]
    typer.echo(f"http://{names[0]}:{port}")
    for name in names:
        hint(f"open http://{name}:{port}{'/#token=YOUR-TOKEN' if config.token else ''} in a browser")
    hint("Ctrl-C ends the service")
    with listener:
        Server(app).run(sockets=[listener])


def own_addresses(family: socket.AddressFamily) -> list[str]:
    """This machine's address as other machines see it, if it has one; nothing is sent."""
    outside = ("192.0.2.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9)  # for documents: nobody has these
    with socket.socket(family, socket.SOCK_DGRAM) as line:
        try:
            line.connect(outside)
            name = line.getsockname()[0]
        except OSError:
            return []
    return [f"[{name}]" if ":" in name else name]
