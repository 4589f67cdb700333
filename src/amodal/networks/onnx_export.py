"""Networks to ONNX files: weights stored as fp16, computed in fp32, checked against torch before they are kept."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import WeightsError
from ..files import write_bytes

__all__ = ["export"]


def export(
    network: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[str],
    output: str,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    tolerance: float = 0.05,
) -> float:
    """Write `network` as one ONNX file with free batch size and picture size.

    Args:
        network: in evaluation mode, on the CPU.
        examples: one tensor per input, (B, C, H, W) or (B,).
        inputs: their names.
        output: the answer's name.
        path: the file, written atomically.
        metadata: kept in the file's custom metadata.
        tolerance: largest difference allowed between torch in fp32 and the file, over the answer's standard deviation.

    Returns:
        The largest difference, in standard deviations of the answer.

    Raises:
        WeightsError: the file answers otherwise than the network.
    """
    import onnx

    maps = {name for name, example in zip(inputs, examples, strict=True) if example.ndim == 4} | {output}
    axes = {
        name: {0: "batch"} | ({2: f"{name}_height", 3: f"{name}_width"} if name in maps else {})
        for name in (*inputs, output)
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations and trace remarks
        torch.onnx.export(
            network,
            tuple(examples),
            str(Path(folder, "network.onnx")),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
        model = onnx.load(str(Path(folder, "network.onnx")))
    _store_half(model)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    difference = _difference(network, examples, inputs, content)
    if difference > tolerance:
        raise WeightsError(
            f"the ONNX file differs from the network by {difference:.3f} standard deviations; it was not written"
        )
    write_bytes(path, content)
    return difference


def _store_half(model: object) -> None:
    """Keep large fp32 initializers as fp16 with a Cast behind; ONNX Runtime folds the casts when it loads."""
    import onnx
    from onnx import numpy_helper

    assert isinstance(model, onnx.ModelProto)
    graph = model.graph
    casts, kept = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 256:
            kept.append(tensor)
            continue
        name = f"{tensor.name}_half"
        kept.append(numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _difference(network: nn.Module, examples: Sequence[Tensor], inputs: Sequence[str], content: bytes) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = network(*examples).float().numpy()
    got = session.run(None, {n: x.numpy() for n, x in zip(inputs, examples, strict=True)})[0]
    return float(np.abs(got - expected).max() / max(float(expected.std()), 1e-6))
