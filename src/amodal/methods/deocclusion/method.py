"""The methods `deocclusion` (PCNet-M in two stages) and `asbu`: who is in front, then completion under what is in front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.crop import Crop
from ...core.errors import MissingOptionError, WeightsError
from ...core.image import Image
from ...core.mask import Mask, union
from ...core.options import Options
from ...core.regions import convex_hull
from ...core.soft_mask import SoftMask
from ...data.scene_masks import read_scene
from ...networks.checkpoints import at_trained_size, check_trained
from ...pipeline import order as ordering
from ...plugins.protocols import Context, Method, Prediction, Progress, Request, frame_of, no_progress
from ...runtime.devices import pick_device
from .options import AsbuOptions, CropOptions, DeocclusionOptions

__all__ = ["Asbu", "Deocclusion", "clip_prediction", "load_weights", "mask_value"]

CROP = 256
"""Side of the crops of the authors' networks, in pixels."""
RELEASE = "the authors' release on github.com/XiaohangZhan/deocclusion"


class Deocclusion(Method):
    """PCNet-M. What hides the object comes from the user (`occluder`), or from the masks of the other objects (`scene`).

    Without either the eraser is empty and the network, by its training, keeps the visible mask: the rows "occluder mask not
    given" of table 5 in the SDAmodal paper.
    """

    name: ClassVar[str] = "deocclusion"
    summary: ClassVar[str] = (
        "PCNet-M: completes under the named occluder or, with the option scene, under the other objects' masks"
    )
    license: ClassVar[str] = "Apache-2.0"
    draws: ClassVar[bool] = False
    Options: ClassVar[type[Options]] = DeocclusionOptions
    paper: ClassVar[str] = "Zhan et al., Self-Supervised Scene De-occlusion, CVPR 2020"
    memory: ClassVar[str] = "3.4 million parameters; runs on a CPU"
    extra: ClassVar[str] = "diffusion"
    takes_unseen: ClassVar[bool] = True
    trained: ClassVar[tuple[str, ...]] = ()
    """Options that must be as in training; see `check_trained`."""

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        self.network = load_weights(self.name, self.options.weights, device)
        check_trained(self.options, *self.trained)
        self.options = at_trained_size(self.options, CROP)
        self.content = None
        if self.options.content_weights:
            from ...networks.checkpoints import read_checkpoint
            from ...weights import fit_state
            from .content import PartialConvUNet

            _, tensors = read_checkpoint(self.options.content_weights)
            tensors = {name: value for name, value in tensors.items() if not name.startswith("critic.")}
            widths = [len(tensors[name]) for name in sorted(tensors) if name.endswith("conv.input_conv.weight")]
            network = PartialConvUNet(widths=widths[len(widths) // 2 :]) if widths else PartialConvUNet()
            fit_state(network, tensors, self.options.content_weights)
            self.content = network.to(pick_device(device)).eval()

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        scene: list[Request] = []
        if self.options.scene:
            _, masks, categories = read_scene(self.options.scene, frame_of(image))
            scene = [Request(mask, category=each) for mask, each in zip(masks, categories, strict=True)]
        requests = [told_category(request, scene) for request in requests]
        erasers = []
        for request in requests:
            if request.occluder is not None or not scene:
                erasers.append(request.occluder or Mask.from_array(np.zeros((1, 1), bool)))
                continue
            near = [request, *(other for other in scene if not same_object(other, request))]
            masks = [other.visible for other in near]
            erasers.append(self.erasers(masks, self.order(near, context.progress), [0])[0])
        return [[prediction] for prediction in self.fill(image, requests, erasers, context.progress)]

    def complete_scene(
        self, image: Image, requests: Sequence[Request], progress: Progress = no_progress
    ) -> tuple[ordering.Order, list[Prediction]]:
        """All objects of a picture from their visible masks alone: the recovered order, and one prediction per object.

        This is how the paper evaluates: the order first, then each object under the union of everything in front of it.

        Args:
            image: (H, W, 3) uint8 RGB.
            requests: all objects of the picture, with visible masks inside the frame; what they say of occluders is not used.
            progress: called once per pair and per object.
        """
        order = self.order(requests, progress)
        visible = [request.visible for request in requests]
        return order, self.fill(image, requests, self.erasers(visible, order, range(len(requests))), progress)

    def order(self, requests: Sequence[Request], progress: Progress = no_progress) -> ordering.Order:
        """Who is in front of whom, by the rule of the option `order`; see `amodal.pipeline.order`."""
        how, visible = self.options, [request.visible for request in requests]
        if how.order in ("area", "larger"):
            return ordering.order_by_area(visible, "larger" if how.order == "larger" else "smaller")
        if how.order == "y-axis":
            return ordering.order_by_y(visible)
        if how.order == "hull":
            return ordering.order_by_hull(visible)
        return ordering.order_by_completion(
            visible,
            self.predict,
            size=how.input_size,
            threshold=how.order_threshold,
            widen=how.widen,
            enlarge=how.enlarge,
            margin=how.margin,
            batch=how.batch,
            values=[mask_value(request, how) for request in requests],
            progress=progress,
        )

    def erasers(self, visible: Sequence[Mask], order: ordering.Order, wanted: Sequence[int]) -> list[Mask]:
        """For each wanted object the union of what may hide it: all its ancestors, or all its neighbours."""
        chosen = []
        for index in wanted:
            near = self.options.eraser == "neighbours"
            others = np.flatnonzero(order[index]).tolist() if near else ordering.ancestors(order, index)
            chosen.append(union(visible[other] for other in others))
        return chosen

    def predict(self, visible: NDArray[Any], eraser: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Amodal probability of crops; (N, S, S) each. This is the `Completer` of `amodal.pipeline.order`."""
        from .network import probabilities

        return probabilities(self.network, "pcnet-m", visible, eraser)

    def fill(
        self, image: Image, requests: Sequence[Request], erasers: Sequence[Mask], progress: Progress
    ) -> list[Prediction]:
        """Complete visible masks under their erasers."""
        how = self.options
        if how.completion == "hull":
            return [self.hull(image, each, eraser) for each, eraser in zip(requests, erasers, strict=True)]
        predictions: list[Prediction] = []
        for start in range(0, len(requests), how.batch):
            part, hides = requests[start : start + how.batch], erasers[start : start + how.batch]
            crops = [
                Crop.around(request.place, how.input_size, enlarge=how.enlarge, margin=how.margin) for request in part
            ]
            # Crops (N, S, S): what lies under the eraser is not visible, whatever the masks say (predicted ones overlap).
            eraser = np.stack([crop.bits(mask, linear=True) for crop, mask in zip(crops, hides, strict=True)])
            given = (
                np.stack([crop.bits(request.visible, linear=True) for crop, request in zip(crops, part, strict=True)])
                & ~eraser
            )
            value = np.array([mask_value(request, how) for request in part], np.float32)[:, None, None]
            for crop, request, occluded, values in zip(
                crops, part, hides, self.predict(given * value, eraser), strict=True
            ):
                bits = (values > how.threshold).astype(np.float32)
                prediction = Prediction(
                    crop.mask_back(bits), probability=crop.soft_back(values), occluder=occluded or None
                )
                predictions.append(
                    self.paint(
                        image, request, prediction if how.beyond_frame else clip_prediction(prediction, image), crop
                    )
                )
            progress("object", len(predictions), len(requests))
        return predictions

    def hull(self, image: Image, request: Request, eraser: Mask) -> Prediction:
        """The paper's baseline convexR: the visible mask and, of its convex hull, what lies under the eraser."""
        seen, how = request.visible, self.options
        amodal = seen | (convex_hull(seen) & eraser) if seen else seen
        crop = Crop.around(request.place, how.input_size, enlarge=how.enlarge, margin=how.margin)
        return self.paint(image, request, Prediction(amodal, occluder=eraser or None), crop)

    def paint(self, image: Image, request: Request, prediction: Prediction, crop: Crop) -> Prediction:
        """With PCNet-C's picture, if its weights are given."""
        if self.content is None:
            return prediction
        from .content import complete_content

        value = mask_value(request, self.options)
        picture = complete_content(self.content, image, request.visible, prediction.amodal, crop, category=value)
        return Prediction(prediction.amodal, picture, crop.origin, prediction.probability, prediction.occluder)


class Asbu(Deocclusion):
    """ASBU: PCNet-M's network with the occlusion boundary as input and a mean and deviation per pixel as output."""

    name: ClassVar[str] = "asbu"
    summary: ClassVar[str] = (
        "ASBU: PCNet-M's successor with boundary uncertainty; needs the occluder or the option scene as well"
    )
    Options: ClassVar[type[Options]] = AsbuOptions
    trained: ClassVar[tuple[str, ...]] = ("boundary",)
    paper: ClassVar[str] = (
        "Nguyen and Todorovic, A Weakly Supervised Amodal Segmenter with Boundary Uncertainty Estimation, ICCV 2021"
    )

    def predict(self, visible: NDArray[Any], eraser: NDArray[np.bool_]) -> NDArray[np.float32]:
        """ASBU's mean; see `Deocclusion.predict`."""
        from .network import probabilities

        return probabilities(self.network, "asbu" if self.options.boundary else "asbu-eraser", visible, eraser)


def load_weights(method: str, weights: str, device: str, final_skip: bool = True) -> Any:
    """A mask network of the family with its weights, ready to predict.

    Raises:
        MissingOptionError: no weights are named; says where there are some.
        WeightsError: absent, damaged, or made for another network.
    """
    if not weights:
        raise MissingOptionError(
            f"{method} needs its weights: a file of {RELEASE}, or of amodal train recipes/{method}.toml", "weights=FILE"
        )
    from ...networks.checkpoints import facts_of, read_checkpoint
    from ...networks.picture_unet import PictureUNet, picture_unet_layout
    from ...networks.unet import MaskUNet
    from ...weights import fit_state
    from .network import SingleStageNet, widths_of

    path, tensors = read_checkpoint(weights)
    task = facts_of(path).get("task", method)
    if {task, method} == {"deocclusion", "asbu"}:  # networks of the same tensors, whose two outputs mean other things
        raise WeightsError(f"{weights} was trained for {task}, not for {method}; take the method {task}")
    widths = widths_of(tensors)
    six = picture_unet_layout(tensors)
    if method == "deocclusion-single" and six:
        deep = PictureUNet(1, **six)
        fit_state(deep, tensors, f"{weights} for {method}")
        return deep.to(pick_device(device)).eval()
    if method == "deocclusion-single":
        network: Any = SingleStageNet(**widths, final_skip=final_skip)
    else:
        widths.pop("image_widths", None)
        network = MaskUNet(2, **widths, final_skip=final_skip)
    fit_state(network, tensors, f"{weights} for {method}")
    return network.to(pick_device(device)).eval()


def same_object(one: Request, other: Request) -> bool:
    """Whether two visible masks mostly coincide: the object that is asked about is usually in its scene too."""
    return one.visible.iou(other.visible) >= 0.5


def told_category(request: Request, scene: Sequence[Request]) -> Request:
    """The request with the category number that its scene tells of the object, where it brings none of its own."""
    if request.category is not None:
        return request
    told = [other.category for other in scene if same_object(other, request)]
    return replace(request, category=told[0]) if told else request


def mask_value(request: Request, options: CropOptions) -> int:
    """What the mask channel holds on a visible object: the option `category`, which is meant for every object, else the object's
    own category number, else 1."""
    return options.category or request.category or 1


def clip_prediction(prediction: Prediction, image: Image) -> Prediction:
    """The prediction without what lies outside of the picture."""
    height, width = frame_of(image)
    soft = prediction.probability
    if soft is not None:
        x0, y0, x1, y1 = soft.box
        box = (max(0, x0), max(0, y0), min(width, x1), min(height, y1))
        soft = SoftMask(soft.crop(box), box[:2])
    amodal = prediction.amodal.clip((height, width))
    return Prediction(
        amodal, prediction.picture, prediction.picture_origin, soft, prediction.occluder, prediction.score
    )
