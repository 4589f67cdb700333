"""The methods `deocclusion` (PCNet-M in two stages) and `asbu`: who is in front, then completion under what is in front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import ordering
from ...crop import Crop
from ...devices import pick_device
from ...errors import OptionError
from ...image import Image
from ...mask import Mask, SoftMask, union
from ...options import Options
from ...protocols import Context, Guess, Job, Method, Tick, frame_of, no_tick
from ...scene_masks import read_scene
from .options import AsbuOptions, DeocclusionOptions

__all__ = ["Asbu", "Deocclusion", "clip_guess", "load_weights"]

RELEASE = "the authors' release on github.com/XiaohangZhan/deocclusion"


class Deocclusion(Method):
    """PCNet-M. What hides the object comes from the user (`occluder`), or from the masks of the other objects (`scene`).

    Without either the eraser is empty and the network, by its training, keeps the visible mask: the rows "occluder mask not
    given" of table 5 in the SDAmodal paper.
    """

    name: ClassVar[str] = "deocclusion"
    summary: ClassVar[str] = "PCNet-M: completes under the named occluder or under the other objects' masks (scene=)"
    Options: ClassVar[type[Options]] = DeocclusionOptions
    paper: ClassVar[str] = "Zhan et al., Self-Supervised Scene De-occlusion, CVPR 2020"
    memory: ClassVar[str] = "3.4 million parameters; runs on a CPU"
    extra: ClassVar[str] = "diffusion"

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        self.network, self.digest = load_weights(self.name, self.options.weights, device)
        self.content = None
        if self.options.content_weights:
            from ...networks.checkpoints import read_checkpoint
            from ...weights import fit_state
            from .content import PartialConvUNet

            _, tensors = read_checkpoint(self.options.content_weights)
            widths = [len(tensors[name]) for name in sorted(tensors) if name.endswith("conv.input_conv.weight")]
            network = PartialConvUNet(widths=widths[len(widths) // 2 :]) if widths else PartialConvUNet()
            fit_state(network, tensors, self.options.content_weights)
            self.content = network.to(pick_device(device)).eval()

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "weights_sha256": self.digest}

    def complete(self, embedded: Any, image: Image, jobs: Sequence[Job], context: Context) -> list[list[Guess]]:
        scene = read_scene(self.options.scene, frame_of(image))[1] if self.options.scene else []
        erasers = []
        for job in jobs:
            if job.occluder is not None or not scene:
                erasers.append(job.occluder or Mask.from_array(np.zeros((1, 1), bool)))
                continue
            # The object itself is usually in the scene: what mostly coincides with it is it.
            masks = [job.visible, *(mask for mask in scene if mask.iou(job.visible) < 0.5)]
            erasers.append(self.erasers(masks, self.order(masks, context.tick), [0])[0])
        return [[guess] for guess in self.fill(image, [job.visible for job in jobs], erasers, context.tick)]

    def complete_scene(
        self, image: Image, visible: Sequence[Mask], tick: Tick = no_tick
    ) -> tuple[ordering.Order, list[Guess]]:
        """All objects of a picture from their visible masks alone: the recovered order, and one guess per object.

        Args:
            image: (H, W, 3) uint8 RGB.
            visible: non-empty, inside the frame.
            tick: progress, by pairs and objects.
        """
        order = self.order(visible, tick)
        return order, self.fill(image, visible, self.erasers(visible, order, range(len(visible))), tick)

    def order(self, visible: Sequence[Mask], tick: Tick = no_tick) -> ordering.Order:
        """Who is in front of whom, by the rule of the option `order`; see `amodal.ordering`."""
        how = self.options
        if how.order == "area":
            return ordering.order_by_area(visible)
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
            tick=tick,
        )

    def erasers(self, visible: Sequence[Mask], order: ordering.Order, wanted: Sequence[int]) -> list[Mask]:
        """For each wanted object the union of what may hide it: all its ancestors, or all its neighbours."""
        chosen = []
        for index in wanted:
            near = self.options.eraser == "neighbours"
            others = np.flatnonzero(order[index]).tolist() if near else ordering.ancestors(order, index)
            chosen.append(union(visible[other] for other in others))
        return chosen

    def predict(self, visible: NDArray[np.bool_], eraser: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Amodal probability of crops; (N, S, S) each. This is the `Completer` of `amodal.ordering`."""
        from .network import probabilities

        return probabilities(self.network, "pcnet-m", visible, eraser)

    def fill(self, image: Image, visible: Sequence[Mask], erasers: Sequence[Mask], tick: Tick) -> list[Guess]:
        """Complete visible masks under their erasers."""
        how = self.options
        guesses: list[Guess] = []
        for start in range(0, len(visible), how.batch):
            masks, hides = visible[start : start + how.batch], erasers[start : start + how.batch]
            crops = [Crop.around(mask.box, how.input_size, enlarge=how.enlarge, margin=how.margin) for mask in masks]
            given = np.stack([crop.bits(mask) for crop, mask in zip(crops, masks, strict=True)])
            eraser = np.stack([crop.bits(mask) for crop, mask in zip(crops, hides, strict=True)])
            for crop, mask, hidden, values in zip(crops, masks, hides, self.predict(given, eraser), strict=True):
                bits = (values > how.threshold).astype(np.float32)
                guess = Guess(crop.mask_back(bits), probability=crop.soft_back(values), occluder=hidden or None)
                guesses.append(self.paint(image, mask, guess if how.beyond_frame else clip_guess(guess, image), crop))
            tick("object", len(guesses), len(visible))
        return guesses

    def paint(self, image: Image, visible: Mask, guess: Guess, crop: Crop) -> Guess:
        """With PCNet-C's picture, if its weights are given."""
        if self.content is None:
            return guess
        from .content import complete_content

        picture = complete_content(self.content, image, visible, guess.amodal, crop)
        return Guess(guess.amodal, picture, crop.origin, guess.probability, guess.occluder)


class Asbu(Deocclusion):
    """ASBU: PCNet-M's network with the occlusion boundary as input and a mean and deviation per pixel as output."""

    name: ClassVar[str] = "asbu"
    summary: ClassVar[str] = "ASBU: PCNet-M's successor with boundary uncertainty; needs the occluder or scene= as well"
    Options: ClassVar[type[Options]] = AsbuOptions
    paper: ClassVar[str] = (
        "Nguyen and Todorovic, A Weakly Supervised Amodal Segmenter with Boundary Uncertainty Estimation, ICCV 2021"
    )

    def predict(self, visible: NDArray[np.bool_], eraser: NDArray[np.bool_]) -> NDArray[np.float32]:
        """ASBU's mean; see `Deocclusion.predict`."""
        from .network import probabilities

        return probabilities(self.network, "asbu" if self.options.boundary else "asbu-eraser", visible, eraser)


def load_weights(method: str, weights: str, device: str, **more: Any) -> tuple[Any, str]:
    """A mask network of the family with its weights, ready to predict, and the SHA-256 of their file.

    Raises:
        OptionError: no weights are named; says where there are some.
        WeightsError: absent, damaged, or made for another network.
    """
    if not weights:
        raise OptionError(
            f"{method} needs its weights: --set weights=FILE, from {RELEASE} or from amodal train recipes/{method}.toml"
        )
    from ...networks.checkpoints import read_checkpoint
    from ...networks.unet import MaskUNet
    from ...weights import fit_state, sha256
    from .network import SingleStageNet, widths_of

    path, tensors = read_checkpoint(weights)
    widths = widths_of(tensors)
    if method == "deocclusion-single":
        network: Any = SingleStageNet(**widths, **more)
    else:
        network = MaskUNet(2, **{name: value for name, value in widths.items() if name == "widths"}, **more)
    fit_state(network, tensors, f"{weights} for {method}")
    return network.to(pick_device(device)).eval(), sha256(path)


def clip_guess(guess: Guess, image: Image) -> Guess:
    """The guess without what lies outside of the picture."""
    height, width = frame_of(image)
    soft = guess.probability
    if soft is not None:
        x0, y0, x1, y1 = soft.box
        box = (max(0, x0), max(0, y0), min(width, x1), min(height, y1))
        soft = SoftMask(soft.crop(box), box[:2])
    amodal = guess.amodal.clip((height, width))
    return Guess(amodal, guess.picture, guess.picture_origin, soft, guess.occluder, guess.score)
