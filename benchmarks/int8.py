"""What it would bring to compute the mask network and the image encoder in int8: accuracy on composites_dev, processor seconds.

Static quantisation by ONNX Runtime (weights by channel, activations by the range that they have on the calibration objects, which
are those of bookstore_dev). The shipped files keep 8- or 16-bit weights, but compute in fp32.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from amodal.core.mask import Mask
from amodal.methods.embedded import method as embedded_method
from amodal.networks import image_encoder
from amodal.networks.onnx_session import open_session
from amodal.plugins.protocols import Context, Request
from amodal.plugins.registry import create_method
from amodal.training.tasks.sets import Item, fixed_set
from amodal.weights.catalogue import embedded
from benchmarks.looks import measure
from benchmarks.measure import Skip

CALIBRATED, MEASURED = 40, 200
NETWORKS = ("embedded", "image-encoder")
Feeds = list[dict[str, np.ndarray[Any, Any]]]


def run() -> dict[str, object]:
    """fp32 beside the mask network in int8, and beside both networks in int8, on the same objects."""
    root = Path(os.environ.get("AMODAL_DATA", Path(__file__).parents[1] / "data"))
    if not (root / "composites_dev").is_dir() or not (root / "bookstore_dev").is_dir():
        raise Skip(f"needs composites_dev and bookstore_dev in {root}")
    items = list(fixed_set(root / "composites_dev")[:MEASURED])
    feeds = recorded(list(fixed_set(root / "bookstore_dev")[:CALIBRATED]))
    with tempfile.TemporaryDirectory() as folder:
        files = {name: quantised(name, feeds[name], Path(folder)) for name in NETWORKS}
        ways = {"fp32": (), "mask network in int8": NETWORKS[:1], "both in int8": NETWORKS}
        out: dict[str, object] = {}
        for way, names in ways.items():
            with replaced({name: files[name] for name in names}):
                measure(items[:2], {})  # opens the sessions
                out[way] = measure(items, {})
    return {"objects": len(items), "calibration_objects": CALIBRATED, **out}


class _Recorder:
    """A session that keeps what it is fed."""

    def __init__(self, session: Any, feeds: Feeds) -> None:
        self.session, self.feeds = session, feeds

    def run(self, outputs: Any, feed: dict[str, Any]) -> Any:
        """As the session's own."""
        self.feeds.append(feed)
        return self.session.run(outputs, feed)

    def get_modelmeta(self) -> Any:
        """As the session's own."""
        return self.session.get_modelmeta()


@contextmanager
def opening(change: Any) -> Iterator[None]:
    """Networks open as `change(path, threads)` says."""
    with ExitStack() as stack:
        for module in (embedded_method, image_encoder):
            stack.enter_context(mock.patch.object(module, "open_session", change))
        embedded_method.runner.cache_clear()
        yield
    embedded_method.runner.cache_clear()


def recorded(items: list[Item]) -> dict[str, Feeds]:
    """What both networks are fed when these objects are completed."""
    feeds: dict[str, Feeds] = {name: [] for name in NETWORKS}
    method = create_method("embedded")
    with opening(lambda path, threads=0: _Recorder(open_session(path, threads), feeds[Path(path).stem])):
        for item in items:
            method.complete(method.embed(item.image), item.image, [Request(Mask.from_array(item.visible))], Context())
    return feeds


@contextmanager
def replaced(files: dict[str, Path]) -> Iterator[None]:
    """The networks of these names come from these files."""
    with opening(lambda path, threads=0: open_session(str(files.get(Path(path).stem, path)), threads)):
        yield


def quantised(name: str, feeds: Feeds, folder: Path) -> Path:
    """The network in int8, with the metadata of the shipped file."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quant_pre_process, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.rows = iter(feeds)

        def get_next(self) -> Any:
            return next(self.rows, None)

    plain, ready, coded = (folder / f"{name}.{step}.onnx" for step in ("plain", "ready", "int8"))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(plain)  # weights in fp32
    session = onnxruntime.InferenceSession(str(embedded(name)), options, providers=["CPUExecutionProvider"])
    quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
    quantize_static(str(ready), str(coded), Reader(), per_channel=True, weight_type=QuantType.QInt8)
    model = onnx.load(str(coded))
    del model.metadata_props[:]
    for key, value in session.get_modelmeta().custom_metadata_map.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(coded))
    return coded
