"""`amodal serve`: the web page and the HTTP service."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MissingExtraError, UsageError
from .common import Device, Settings, hint, split_settings

if TYPE_CHECKING:
    from ..serve.config import Config


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; anything but this machine needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    token: Annotated[
        str | None, typer.Option(envvar="AMODAL_TOKEN", show_envvar=True, help="What callers must show.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="The default method; see: amodal list methods.")] = None,
    inpainter: Annotated[str | None, typer.Option(help="The default inpainter; or a hub name or folder.")] = None,
    segmenter: Annotated[str | None, typer.Option(help="The default segmenter; or a hub name or folder.")] = None,
    settings: Settings = None,
    device: Device = "auto",
    media: Annotated[Path | None, typer.Option(help="Folder of Label Studio's local files.")] = None,
    queue: Annotated[int, typer.Option(min=1, help="Waiting jobs; the next one is refused (429).")] = 64,
    keep: Annotated[float, typer.Option(min=0.1, help="Minutes that unused photos and results are kept.")] = 30.0,
    limit: Annotated[float, typer.Option(min=1, help="Seconds that a job may run.")] = 600.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every request.")] = False,
) -> None:
    """Serve the web page and the HTTP API. Starts at once with the embedded default; Ctrl-C ends it."""
    from ..serve.config import Config, Limits
    from .batch import model_arguments

    parts = split_settings(settings or [])
    model = {**model_arguments(method, inpainter, segmenter, parts), "device": device}
    limits = Limits(queue=queue, keep_s=keep * 60, job_s=limit)
    config = Config(host, port, token, model, media, limits)
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
        import uvicorn

        from ..serve.api import create_app
    except ImportError as error:
        raise MissingExtraError(
            f'amodal serve needs the package {error.name!r}; run: pip install "amodal[serve]"'
        ) from error

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
    typer.echo(f"http://{shown}:{port}")
    hint(
        f"open http://{shown}:{port}{'/#token=YOUR-TOKEN' if config.token else ''} in a browser; Ctrl-C ends the service"
    )
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=5)
    )
    with listener:
        server.run(sockets=[listener])
