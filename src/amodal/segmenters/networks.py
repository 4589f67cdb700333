"""The SAM networks of transformers behind two small faces: points and boxes to masks, and words to masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import WeightsError, reported
from ..runtime.devices import Dtype, pick_device, pick_dtype
from ..weights.config import read_config
from ..weights.pretrained import load_pretrained
from .preprocess import Preprocess

if TYPE_CHECKING:
    import torch

__all__ = ["KINDS", "Networks", "PointNetwork", "TextNetwork", "kind_of", "load_networks"]

KINDS = {
    "sam": "sam",
    "sam2": "sam2",
    "sam2_video": "sam2",
    "sam3": "sam3",
    "sam3_video": "sam3",
    "sam3_tracker": "sam3",
    "sam3_tracker_video": "sam3",
}
"""`model_type` of a config.json to the family."""


def kind_of(folder: Path) -> str:
    """The `model_type` that a folder's config.json states.

    Raises:
        WeightsError: not a folder of a SAM model.
    """
    config = folder / "config.json"
    if folder.is_file():
        raise WeightsError(
            f"{folder} is one file; a segmenter is a folder in the hub's layout, with config.json and model.safetensors: give the one "
            "that it lies in, or fetch the model (sam-vit-h has the weights of sam_vit_h_4b8939.pth): amodal fetch sam-vit-h"
        )
    if not config.is_file():
        raise WeightsError(
            f"{folder} has no config.json; a segmenter's folder is in the hub's layout: config.json and model.safetensors"
        )
    kind = str(read_config(config).get("model_type"))
    if kind not in KINDS:
        raise WeightsError(f"{folder} holds a model of type {kind!r}; a segmenter is one of {', '.join(KINDS)}")
    return kind


class PointNetwork:
    """SamModel, Sam2Model or Sam3TrackerModel: a picture's embedding once, then points and boxes to mask logits."""

    def __init__(self, model: Any, preprocess: Preprocess) -> None:
        self.model = model
        self.preprocess = preprocess

    def embed(self, pixels: torch.Tensor) -> Any:
        """What the mask decoder needs of a picture (1, 3, side, side)."""
        import torch

        if self.model.config.model_type.startswith("sam3"):
            with torch.no_grad():
                return tracker_embedding(self.model, self.model.vision_encoder(pixels))
        return self.model.get_image_embeddings(pixels)

    def predict(
        self,
        embedded: Any,
        points: NDArray[np.float32] | None,
        labels: NDArray[np.int64] | None,
        boxes: NDArray[np.float32] | None,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask logits and their predicted IoU for P prompts of the same form.

        Args:
            embedded: from `embed`.
            points: (P, K, 2) float32 (x, y) in the network's pixels, or None.
            labels: (P, K) int64, 1 on the object, 0 off it; None without points.
            boxes: (P, 4) float32 (x0, y0, x1, y1), or None.
            multimask: three answers (part, object, group) instead of one.

        Returns:
            logits (P, M, h, w) and scores (P, M), float32.
        """
        import torch

        device = self.model.device

        def batch(values: NDArray[Any] | None) -> torch.Tensor | None:
            return None if values is None else torch.from_numpy(values)[None].to(device)

        with torch.no_grad():
            output = self.model(
                image_embeddings=embedded,
                input_points=batch(points),
                input_labels=batch(labels),
                input_boxes=batch(boxes),
                multimask_output=multimask,
            )
        return output.pred_masks[0].float(), output.iou_scores[0].float()


class TextNetwork:
    """Sam3Model with its tokenizer: words to the mask logits of all that they name."""

    def __init__(self, model: Any, tokenizer: Any, preprocess: Preprocess) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.preprocess = preprocess

    def embed(self, pixels: torch.Tensor) -> Any:
        """The vision encoder's output for a picture (1, 3, side, side)."""
        import torch

        with torch.no_grad():
            return self.model.get_vision_features(pixels)

    def find(self, embedded: Any, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask logits (N, h, w) and scores (N,) in [0, 1] of the N queries, best first.

        A query's score is its own times the probability that the picture shows the named thing at all (SAM 3's presence head).
        """
        import torch

        length = self.model.config.text_config.max_position_embeddings
        words = self.tokenizer(text, return_tensors="pt", padding="max_length", max_length=length, truncation=True)
        with torch.no_grad():
            output = self.model(
                vision_embeds=embedded,
                input_ids=words["input_ids"].to(self.model.device),
                attention_mask=words["attention_mask"].to(self.model.device),
            )
        scores = output.pred_logits[0].sigmoid()
        if output.presence_logits is not None:
            scores = scores * output.presence_logits[0].sigmoid()
        order = torch.argsort(scores, descending=True, stable=True)
        return output.pred_masks[0][order].float(), scores[order].float()


class Networks:
    """What a folder holds: `points`, `text` or both. SAM 3's two halves share one run of the image encoder."""

    def __init__(self, kind: str, points: PointNetwork | None, text: TextNetwork | None) -> None:
        self.kind = kind
        self.points = points
        self.text = text
        part = points or text
        assert part is not None
        self.preprocess: Preprocess = part.preprocess
        self.device = part.model.device

    def embed(self, pixels: NDArray[np.float32]) -> tuple[Any, Any]:
        """The embeddings (for points, for text) of a picture; None for the half that is not there."""
        import torch

        values = torch.from_numpy(pixels).to(self.device)
        if self.text is None:
            assert self.points is not None
            return self.points.embed(values), None
        vision = self.text.embed(values)
        return (None if self.points is None else tracker_embedding(self.points.model, vision), vision)


def tracker_embedding(model: Any, vision: Any) -> list[torch.Tensor]:
    """Sam3TrackerModel's image embeddings from a run of the encoder, which the detector shares.

    As SAM 3's own program and transformers' Sam3VideoModel do it: the neck's coarsest level is not used, and the embedding for
    "no memory" goes on the coarsest of the rest. (`Sam3TrackerModel.get_image_embeddings` puts it on the level that is not used.)
    """
    import torch

    states = vision.last_hidden_state
    height, width = model.prompt_encoder.image_embedding_size
    grid = states.view(states.shape[0], height, width, -1).permute(0, 3, 1, 2)
    with torch.no_grad():
        levels, _ = model.vision_encoder.neck(grid)
        fine, middle, coarse = levels[: len(model.backbone_feature_sizes)]
        decoder = model.mask_decoder
        return [decoder.conv_s0(fine), decoder.conv_s1(middle), coarse + model.no_memory_embedding.view(1, -1, 1, 1)]


def load_networks(folder: Path, device: str, dtype: Dtype) -> Networks:
    """The networks of a folder in the hub's layout, ready to run.

    Only the image encoder runs in `dtype`; prompts and masks stay in float32 (half a pixel of a prompt does not survive
    16 bits).

    Raises:
        WeightsError: not a SAM model, cut short, or not fitting.
    """
    kind = kind_of(folder)
    place = pick_device(device)
    number = pick_dtype(dtype, place)
    if KINDS[kind] != "sam3":
        from transformers.models.sam.modeling_sam import SamModel
        from transformers.models.sam2.modeling_sam2 import Sam2Model

        model = _load(SamModel if kind == "sam" else Sam2Model, folder)
        side = model.prompt_encoder.input_image_size
        in_dtype(model.vision_encoder, number)
        return Networks(kind, PointNetwork(model.to(place), Preprocess.of(KINDS[kind], side, folder)), None)
    return _load_sam3(kind, folder, place, number)


def _load_sam3(kind: str, folder: Path, place: torch.device, number: torch.dtype) -> Networks:
    # by module: transformers' top level hides SAM 3 where torchvision, needed for its box examples alone, is missing
    from transformers.models.sam3.modeling_sam3 import Sam3Model
    from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

    points = text = None
    detector = _load(Sam3Model, folder) if kind in ("sam3", "sam3_video") else None
    tracker = _load(Sam3TrackerModel, folder) if kind != "sam3" else None
    if detector is not None:
        in_dtype(detector.vision_encoder.backbone, number)
        seen = Preprocess.of("sam3", detector.config.vision_config.image_size, folder)
        text = TextNetwork(detector.to(place), _tokenizer(folder), seen)
    if tracker is not None:
        seen = Preprocess.of("sam3", tracker.prompt_encoder.input_image_size, folder)
        if detector is None:
            in_dtype(tracker.vision_encoder.backbone, number)
        else:
            del tracker.vision_encoder.backbone  # the detector's is the same one: `tracker_embedding`
        points = PointNetwork(tracker.to(place), seen)
    return Networks(kind, points, text)


def _load(cls: Any, folder: Path) -> Any:
    """A network of float32, whatever its files hold: the number format is the caller's choice."""
    return load_pretrained(cls, folder, ignore_mismatched_sizes=True).float().eval()


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    what = f"{folder} has no tokenizer (tokenizer.json), which words need"
    with reported(WeightsError, what, "fetch it again"):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def in_dtype(module: Any, dtype: torch.dtype) -> None:
    """Make a module compute in `dtype` while those around it hand over and receive float32."""
    import torch

    module.to(dtype)
    if dtype == torch.float32:
        return

    def give(module: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return _cast(args, dtype), _cast(kwargs, dtype)

    def take(module: Any, args: Any, output: Any) -> Any:
        return _cast(output, torch.float32)

    module.register_forward_pre_hook(give, with_kwargs=True)
    module.register_forward_hook(take)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Floating tensors of a nested output in another dtype."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):  # also transformers' ModelOutput, which is one
        for key in list(value):
            value[key] = _cast(value[key], dtype)
        return value
    return type(value)(_cast(part, dtype) for part in value) if type(value) in (tuple, list) else value
