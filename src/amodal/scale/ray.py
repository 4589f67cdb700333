"""A batch on Ray Data: actors on one machine or many, on CPU or GPU, with the results of `run_local`."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import AmodalError, MissingExtraError, UsageError
from .worker import Result, Row, Spec, Worker

__all__ = ["run_ray"]

BLOCK = 4
"""Rows a task: few, because a task's results arrive together and a kill loses those under way."""


class Actor:
    """A `Worker` in Ray's clothes: columns of text in, columns of text and bytes out."""

    def __init__(self, spec: str) -> None:
        self.worker = Worker(Spec(**json.loads(spec)))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = [Row(**{**json.loads(text), "parts": tuple(json.loads(text)["parts"])}) for text in batch["row"]]
        answers = self.worker(rows)
        return {
            "id": [row.id for row in rows],
            "records": [json.dumps([result.record for result in results]) for results in answers],
            "names": [json.dumps([list(result.files) for result in results]) for results in answers],
            "contents": [[content for result in results for content in result.files.values()] for results in answers],
        }


def run_ray(
    spec: Spec, rows: Iterable[Row], address: str = "local", workers: int = 1, gpus: float = 0.0
) -> Iterator[tuple[Row, list[Result]]]:
    """Each row with its results, in the order in which they are done.

    Args:
        spec: the work.
        rows: what is to be done; the photos must lie at the same paths on every node, and amodal be installed there.
        address: "local" starts Ray here for this batch; else a cluster's address ("auto", "10.0.0.1:6379", "ray://...").
        workers: actors.
        gpus: GPUs per actor; parts of one are possible.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: no cluster answers at `address`, or Ray does not start here in time.
        AmodalError: an actor cannot load the work.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # its 30 s are short on a busy machine
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext, from_items
    except ImportError as error:
        raise MissingExtraError(f'--ray needs the package {error.name!r}; run: pip install "amodal[ray]"') from error
    rows = list(rows)
    if not rows:
        return
    quiet = {"log_to_driver": False, "include_dashboard": False, "logging_level": "error"}
    try:
        if address == "local":
            ray.init(address="local", num_cpus=max(workers, os.cpu_count() or 1), **quiet)
        else:
            ray.init(address=address, log_to_driver=False, logging_level="error")
    except Exception as error:
        raise UsageError(
            f"Ray does not come up at {address!r} ({error}); start a cluster, or use --ray local"
        ) from error
    try:
        DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of every plan it makes
        table = [{"row": json.dumps(dataclasses.asdict(row))} for row in rows]
        blocks = min(len(table), max(4 * workers, -(-len(table) // BLOCK)))
        results = from_items(table, override_num_blocks=blocks).map_batches(
            Actor,
            fn_constructor_args=(json.dumps(dataclasses.asdict(spec)),),
            batch_size=BLOCK,
            compute=ActorPoolStrategy(size=workers),
            num_gpus=gpus or None,
            batch_format="numpy",
        )
        by_id = {row.id: row for row in rows}
        for item in results.iter_rows():
            yield by_id[item["id"]], _results(item)
    except ray.exceptions.RayError as error:
        reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1]
        raise AmodalError(f"the batch stopped on Ray: {reason}; run the same command again to go on") from error
    finally:
        ray.shutdown()


def _results(item: dict[str, Any]) -> list[Result]:
    contents = iter(item["contents"])
    return [
        Result(record, {name: bytes(next(contents)) for name in names})
        for record, names in zip(json.loads(item["records"]), json.loads(item["names"]), strict=True)
    ]
