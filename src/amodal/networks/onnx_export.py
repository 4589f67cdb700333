"""Networks to ONNX files: weights stored in 16 or 8 bits under their own names, computed in fp32, checked against torch.

The names make the shipped file the network's only copy: `read_tensors` gives back what a training starts from.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.errors import WeightsError, reported
from ..core.extras import missing
from ..core.files import read_bytes, write_bytes

if TYPE_CHECKING:
    import onnx

__all__ = ["export", "read_tensors", "to_onnx"]

SMALL = 256
"""Tensors with fewer numbers stay in fp32."""
HALF, CODE, STEP = "_half", "_code", "_step"
"""Ends of the names of stored fp16 values, of 8-bit codes, and of the step between two codes."""


def export(
    network: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    tolerance: float = 0.05,
    bits: Literal[8, 16] = 16,
) -> float:
    """Write `network` as one ONNX file with free batch size and picture size.

    Args:
        network: in evaluation mode, on the CPU.
        examples: one tensor per input, (B, C, H, W) or (B,).
        inputs: their names.
        outputs: the answers' names.
        path: the file, written atomically.
        metadata: kept in the file's custom metadata.
        tolerance: largest difference allowed between torch in fp32 and the file, over the answer's standard deviation.
        bits: of a stored weight; with 8 there is one step for each output channel.

    Returns:
        The largest difference, in standard deviations of the answer.

    Raises:
        WeightsError: the file answers otherwise than the network.
    """
    model = to_onnx(network, examples, inputs, outputs)
    _store(model, bits)
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


def to_onnx(
    network: nn.Module, examples: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    """`network` as an ONNX graph in fp32, batch norms as they are, so that every tensor keeps its name."""
    from onnx import TensorProto, helper

    with torch.inference_mode():
        answers = network(*examples)
    answers = (answers,) if isinstance(answers, Tensor) else answers
    axes = {
        name: {0: "batch"} | ({2: f"{name}_height", 3: f"{name}_width"} if value.ndim == 4 else {})
        for name, value in zip((*inputs, *outputs), (*examples, *answers), strict=True)
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations and trace remarks
        torch.onnx.export(
            network,
            tuple(examples),
            str(Path(folder, "network.onnx")),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=17,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            dynamo=False,
        )
        made = read_onnx(Path(folder, "network.onnx"))
    # A network of few levels looks at few features; whoever runs the file gives it all.
    looked_at = {each.name for each in made.graph.input}
    for name, value in zip(inputs, examples, strict=True):
        if name not in looked_at:
            shape = [axes[name].get(axis, size) for axis, size in enumerate(value.shape)]
            made.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return made


def _store(model: onnx.ModelProto, bits: int) -> None:
    """Keep large fp32 initializers in fewer bits with what makes fp32 of them behind; ONNX Runtime folds that when it loads."""
    import onnx
    from onnx import numpy_helper

    graph = model.graph
    made, kept = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL:
            kept.append(tensor)
        elif bits == 8 and values.ndim > 1:
            code, step = _coded(values)
            kept.append(numpy_helper.from_array(code, tensor.name + CODE))
            kept.append(numpy_helper.from_array(step, tensor.name + STEP))
            whole = f"{tensor.name}_whole"
            made.append(onnx.helper.make_node("Cast", [tensor.name + CODE], [whole], to=onnx.TensorProto.FLOAT))
            made.append(onnx.helper.make_node("Mul", [whole, tensor.name + STEP], [tensor.name]))
        else:
            kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name + HALF))
            made.append(onnx.helper.make_node("Cast", [tensor.name + HALF], [tensor.name], to=onnx.TensorProto.FLOAT))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*made, *nodes])


def _coded(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """8-bit codes and the step of each output channel (first axis): values are about code * step."""
    axes = tuple(range(1, values.ndim))
    step = np.maximum(np.abs(values).max(axes, keepdims=True), 1e-12).astype(np.float32) / np.float32(127)
    return np.round(values / step).astype(np.int8), step


def read_onnx(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The graph of an ONNX file that holds all of its tensors itself. Raises WeightsError: not such a file."""
    import onnx

    content = read_bytes(path, WeightsError)
    with reported(WeightsError, f"{path} is no ONNX file"):
        return onnx.load_model_from_string(content)


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a file that `export` wrote, by the network's own names, fp32.

    Raises:
        MissingExtraError: onnx is not installed.
        WeightsError: not such a file.
    """
    try:
        from onnx import numpy_helper
    except ImportError as error:
        raise missing("reading the weights that ship", error, "train") from None

    graph = read_onnx(path).graph
    with reported(WeightsError, f"the weights {path} are damaged"):
        stored: dict[str, NDArray[Any]] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    out: dict[str, Tensor] = {}
    for name, values in stored.items():
        if name.endswith(HALF):
            name, values = name.removesuffix(HALF), values.astype(np.float32)
        elif name.endswith(CODE):
            name = name.removesuffix(CODE)
            values = values.astype(np.float32) * stored[name + STEP]
        elif name.endswith(STEP):
            continue
        out[name] = torch.from_numpy(values.copy())
    for node in graph.node:  # equal tensors are stored once
        if node.op_type == "Identity" and node.input[0] in out:
            out[node.output[0]] = out[node.input[0]].clone()
    return out


def _difference(network: nn.Module, examples: Sequence[Tensor], inputs: Sequence[str], content: bytes) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        answers = network(*examples)
    answers = (answers,) if isinstance(answers, Tensor) else answers
    got = session.run(None, {n: x.numpy() for n, x in zip(inputs, examples, strict=True)})
    return max(
        float(np.abs(mine - theirs.float().numpy()).max() / max(float(theirs.float().std()), 1e-6))
        for mine, theirs in zip(got, answers, strict=True)
    )
