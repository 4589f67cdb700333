"""Training of the pocket segmenter with simulated clicks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.config import Batch, Depths, Share, Weight, Widths, config, levels_agree, section
from ...core.mask import Mask
from ...core.prompt import Prompt
from ...networks.image_encoder import LEVELS
from ...networks.lite import Frozen
from ...networks.onnx_export import export
from ...segmenters.pocket.network import FOLD, PocketNetwork
from ...segmenters.pocket.prompts import next_click, prompt_maps
from ...segmenters.pocket.scene import Scene, answer, answers
from ...segmenters.pocket.segmenter import ENCODER, HEAD
from ...segmenters.pocket.views import Decode, Encode, to_frame
from ...synthesis.composites import stream as crops
from ..recipe import Recipe
from . import sets
from .embedded import CropBatches, DataConfig

TARGETS = {"person": 0.1, "thing": 0.17, "photo": 0.26, "scene": 0.3, "shape": 0.03, "render": 0.04, "room": 0.1}


@config
class NetworkConfig:
    """See `PocketNetwork`."""

    widths: Widths = (48, 80, 128, 176)
    depths: Depths = (1, 1, 2, 1)
    head: Widths = (32, 64, 96, 128)

    def __post_init__(self) -> None:
        levels_agree(self.widths, self.depths)


@config
class LossConfig:
    """Weights of the loss and of the simulation.

    Attributes:
        dice: Weight of the soft Dice.
        box: Share of samples prompted by a box at first.
        rounds: Largest number of clicks after the first prompt.
        first: Weight of the answers to the first prompt; the last answer's is 1.
        among: Weight of the best of the other answers to a single click, beside the first answer.
        every: Weight of all the other answers, so that none is forgotten.
        judged: Weight of the expected IoUs.
        chosen: Share of single clicks that go on from the best answer, the rest from the first.
    """

    dice: Weight = 1.0
    box: Share = 0.25
    rounds: Batch = 4
    first: Weight = 1.0
    among: Weight = 1.0
    every: Weight = 0.05
    judged: Weight = 0.3
    chosen: Share = 0.6


class PocketSegmenterTask:
    """See `amodal.training.task.Task`."""

    compiled = ("encoder", "head")
    shipped: ClassVar[dict[str, tuple[str, str]]] = {ENCODER: ("", "encoder."), HEAD: ("", "head.")}

    def __init__(self, recipe: Recipe) -> None:
        data = {
            "targets": TARGETS,
            "factor": [1.15, 6.0],
            "shift": 0.35,
            "mask_noise": 0.0,
            "within": True,
            "sizes": [[0, 192]],
        } | recipe.data
        self.data = section(data, DataConfig, "data")
        self.network_config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        self.seed, self.passes = recipe.run.seed, recipe.run.accumulate
        self.image = Frozen()

    def network(self) -> nn.Module:
        return PocketNetwork(self.network_config.widths, self.network_config.depths, self.network_config.head)

    def source(self, seed: int, batch: int) -> CropBatches:
        if self.data.validation:
            self.items()  # errors of the fixed sets before the first step, not at the first validation
        return CropBatches(self.data, seed, batch, self.passes)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The answers to the first prompt and to the last of a few clicks are graded; the clicks between are simulated without
        gradient. Of the answers to a single click the best one learns, and each learns what IoU it has (Kirillov et al.)."""
        assert isinstance(network, PocketNetwork)
        image, truth = batch
        rng = np.random.default_rng([self.seed, 991, number])
        visible = (truth & crops.VISIBLE).bool()
        x = views(image, truth)
        features = network.encoder(x, *self.image(x[:, :3]))
        sessions = [Session(rng, goal, self.weights.box) for goal in visible.cpu().numpy()]
        first, scores = ask(network, features, sessions)
        grades = self._grades(first, visible)  # (B, MASKS)
        single = torch.tensor([s.box is None for s in sessions], device=x.device)
        best = grades[:, 1:].detach().argmin(1) + 1  # (B,), of the answers that are for a single click
        among = grades.gather(1, best[:, None])[:, 0] * single
        w = self.weights
        early = grades[:, 0].mean() + w.among * among.mean() + w.every * grades[:, 1:].mean()
        judged = judge(first, scores, visible)
        chosen = single & torch.from_numpy(rng.random(len(sessions)) < w.chosen).to(x.device)
        picked = torch.where(chosen, best, 0)
        guess = first.detach()[torch.arange(len(picked), device=x.device), picked]  # (B, S, S)
        network.eval()
        for r in range(int(rng.integers(1, w.rounds + 1))):
            if r:
                with torch.no_grad():
                    guess = ask(network, features.detach(), sessions)[0][:, 0]
            for s, p in zip(sessions, torch.sigmoid(guess).cpu().numpy(), strict=True):
                s.click(rng, p)
        network.train()
        last, scores = ask(network, features, sessions)
        late = self._grades(last[:, :1], visible).mean()
        judged = judged + judge(last[:, :1], scores[:, :1], visible)
        parts = {"first": grades[:, 0].mean(), "best": among.mean(), "after": late, "judged": judged}
        return w.first * early + late + w.judged * judged, {k: v.detach() for k, v in parts.items()}

    def _grades(self, logits: Tensor, visible: Tensor) -> Tensor:
        """The loss of each answer: (B, M, S, S) logits and (B, S, S) truth to (B, M)."""
        t = visible.float().unsqueeze(1)
        bce = F.binary_cross_entropy_with_logits(logits, t.expand_as(logits), reduction="none").mean((2, 3))
        # Small objects count as much as large ones.
        bce = bce / t.mean((2, 3)).clamp(min=0.03).sqrt()
        p = torch.sigmoid(logits)
        dice = 1 - (2 * (p * t).sum((2, 3)) + 5) / (p.square().sum((2, 3)) + t.sum((2, 3)) + 5)
        return bce + self.weights.dice * dice

    def items(self) -> tuple[sets.Item, ...]:
        """What is validated on."""
        return sets.fixed_set(Path(self.data.validation) / "composites_dev")[::6]

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """IoU of the visible mask after 1, 3 and 5 clicks and from a box, on every sixth composite."""
        assert isinstance(network, PocketNetwork)
        if not self.data.validation:
            return {}, None
        encode, decode = self.runners(network, device)
        items = self.items()
        predictions: list[NDArray[np.bool_]] = []
        shown = items[:40]
        scores: dict[str, list[float]] = {k: [] for k in ("click1", "click3", "click5", "box", "best3")}
        for item in items:
            scene = Scene(encode, item.image)
            points: list[tuple[float, float]] = []
            labels: list[int] = []
            prediction = np.zeros_like(item.visible)
            for k in range(1, 6):
                click = next_click(prediction, item.visible)
                if click is not None:
                    points.append(click[0])
                    labels.append(click[1])
                    prediction = answer(decode, scene, Prompt(tuple(points), tuple(labels)))[0] > 0.5
                if k in (1, 3, 5):
                    scores[f"click{k}"].append(_iou(prediction, item.visible))
                if k == 1 and len(predictions) < len(shown):
                    predictions.append(prediction)
            box = Prompt(box=Mask.from_array(item.visible).box)
            scores["box"].append(_iou(answer(decode, scene, box)[0] > 0.5, item.visible))
            once = Prompt(tuple(points[:1]), (1,))
            size = (item.image.shape[0], item.image.shape[1])
            choices = [to_frame(found.logits, found.view, size) for found in answers(decode, scene, once)]
            scores["best3"].append(max(_iou(choice > 0.5, item.visible) for choice in choices))
        return {k: 100 * float(np.mean(v)) for k, v in scores.items()}, sets.picture(shown, predictions)

    def runners(self, network: PocketNetwork, device: torch.device) -> tuple[Encode, Decode]:
        """The network as two NumPy functions, in fp32 as it ships."""

        @torch.inference_mode()
        def encode(x: NDArray[np.float32]) -> NDArray[np.float32]:
            t = torch.from_numpy(x).to(device, memory_format=torch.channels_last)
            return np.asarray(network.encoder(t, *self.image(t[:, :3])).float().cpu(), np.float32)

        @torch.inference_mode()
        def decode(f: NDArray[np.float32], x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            logits, scores = network.head(torch.from_numpy(f).to(device), torch.from_numpy(x).to(device))
            return np.asarray(logits.float().cpu()), np.asarray(torch.sigmoid(scores.float()).cpu())

        return encode, decode

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        assert isinstance(network, PocketNetwork)
        picture = torch.linspace(-1, 1, 224).expand(1, 4, 224, 224).contiguous()
        prompts = torch.zeros(1, 4, 224, 224)
        prompts[0, 0, 100:110, 100:110] = 1
        network.eval()
        with torch.no_grad():
            seen = self.image(picture[:, :3])
            features = network.encoder(picture, *seen)
        paths = [folder / f"{name}.onnx" for name in (ENCODER, HEAD)]
        export(network.encoder, [picture, *seen], ["picture", *LEVELS], ["features"], paths[0], {})
        export(network.head, [features, prompts], ["features", "prompts"], ["logits", "scores"], paths[1], {})
        return paths


class Session:
    """One simulated user."""

    def __init__(self, rng: np.random.Generator, truth: NDArray[np.bool_], box_share: float) -> None:
        self.truth = truth
        self.points: list[tuple[float, float]] = []
        self.labels: list[int] = []
        self.box: tuple[float, float, float, float] | None = None
        self.last: NDArray[np.float32] | None = None
        if rng.random() < box_share and truth.any():
            box = Mask.from_array(truth).box
            spread = 0.06 * (max(box[2] - box[0], box[3] - box[1]) - 1) + 1
            x0, y0, x1, y1 = (np.array(box) + rng.normal(0, spread / 2, 4)).tolist()
            self.box = (x0, y0, x1, y1)
        else:
            self._add(next_click(np.zeros_like(truth), truth, rng))

    def _add(self, click: tuple[tuple[float, float], int] | None) -> None:
        if click is not None:
            self.points.append(click[0])
            self.labels.append(click[1])

    def click(self, rng: np.random.Generator, probability: NDArray[np.float32]) -> None:
        """Click into the largest error of the last answer; it is shown to the network, mostly.

        One time out of five there is no new click: a closer view repeats the prompt, with the last answer beside it.
        """
        again = rng.random() < 0.2
        if not again:
            self._add(next_click(probability > 0.5, self.truth, rng))
        self.last = probability if again or rng.random() < 0.9 else None

    def maps(self, size: int) -> NDArray[np.float32]:
        return prompt_maps(size, self.points, self.labels, self.box, self.last)


def views(image: Tensor, truth: Tensor) -> Tensor:
    """(B, S, S, 3) and (B, S, S) uint8 to the encoder's (B, 4, S, S), channels last."""
    inside = (truth & crops.INSIDE).bool().unsqueeze(1)
    rgb = image.permute(0, 3, 1, 2).float() / 127.5 - 1
    return torch.cat([rgb * inside, inside.float()], 1).contiguous(memory_format=torch.channels_last)


def ask(network: PocketNetwork, features: Tensor, sessions: list[Session]) -> tuple[Tensor, Tensor]:
    """All sessions' prompts at once: logits (B, MASKS, S, S) and logits of the expected IoUs (B, MASKS), fp32."""
    size = FOLD * features.shape[2]
    maps = torch.from_numpy(np.stack([s.maps(size) for s in sessions]))
    logits, scores = network.head(features, maps.to(features.device, memory_format=torch.channels_last))
    return logits.float(), scores.float()


def judge(logits: Tensor, scores: Tensor, visible: Tensor) -> Tensor:
    """Cross-entropy of the expected IoUs (logits, (B, M)) with those of the answers (B, M, S, S)."""
    t, on = visible.unsqueeze(1), logits.detach() > 0
    iou = (on & t).sum((2, 3)) / (on | t).sum((2, 3)).clamp(min=1)
    return F.binary_cross_entropy_with_logits(scores, iou)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))
