"""Training of the pocket segmenter with simulated clicks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data.composites import stream as crops
from ...mask import Mask
from ...networks.onnx_export import export
from ...prompt import Prompt
from ...segmenters.pocket.network import PocketNetwork
from ...segmenters.pocket.prompts import next_click, prompt_maps
from ...segmenters.pocket.views import Decode, Encode, Scene, answer
from ..recipe import Recipe, section
from . import sets
from .occamodal import CropBatches, DataConfig

TARGETS = {"person": 0.1, "thing": 0.17, "photo": 0.26, "scene": 0.3, "shape": 0.03, "render": 0.04, "room": 0.1}


@dataclass(frozen=True)
class NetworkConfig:
    """See `PocketNetwork`."""

    widths: tuple[int, ...] = (48, 80, 128, 176)
    depths: tuple[int, ...] = (1, 1, 2, 1)
    head: tuple[int, ...] = (32, 64, 96, 128)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss and of the simulation.

    Attributes:
        dice: Weight of the soft Dice.
        box: Share of samples prompted by a box at first.
        rounds: Largest number of clicks after the first prompt.
        first: Weight of the answer to the first prompt; the last answer's is 1.
    """

    dice: float = 1.0
    box: float = 0.25
    rounds: int = 4
    first: float = 1.0


class PocketSegmenterTask:
    """See `amodal.training.task.Task`."""

    compiled = ("encoder", "head")

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
        self.seed = recipe.run.seed

    def network(self) -> nn.Module:
        return PocketNetwork(self.network_config.widths, self.network_config.depths, self.network_config.head)

    def source(self, seed: int, batch: int) -> CropBatches:
        if self.data.validation:
            self.items()  # errors of the fixed sets before the first step, not at the first validation
        return CropBatches(self.data, seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """First prompt and the last of a few clicks are both graded; the clicks between are simulated without gradient."""
        assert isinstance(network, PocketNetwork)
        image, truth = batch
        rng = np.random.default_rng([self.seed, 991, number])
        visible = (truth & crops.VISIBLE).bool()
        goal = visible.cpu().numpy()
        features = network.encoder(views(image, truth))
        size = image.shape[1]
        sessions = [Session(rng, g, self.weights.box) for g in goal]

        def ask(f: Tensor) -> Tensor:
            maps = torch.from_numpy(np.stack([s.maps(size) for s in sessions])).to(
                f.device, memory_format=torch.channels_last
            )
            out: Tensor = network.head(f, maps)
            return out.float()

        first = ask(features)
        early, parts = self._grade(first, visible)
        extra = int(rng.integers(1, self.weights.rounds + 1))
        logits = first.detach()
        network.eval()
        frozen = features.detach()
        for r in range(extra):
            if r:
                with torch.no_grad():
                    logits = ask(frozen)
            probability = torch.sigmoid(logits[:, 0]).cpu().numpy()
            for s, p in zip(sessions, probability, strict=True):
                s.click(rng, p)
        network.train()
        last, after = self._grade(ask(features), visible)
        return self.weights.first * early + last, {"first": parts, "after": after}

    def _grade(self, logits: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        t = visible.float()
        x = logits[:, 0]
        bce = F.binary_cross_entropy_with_logits(x, t, reduction="none").mean((1, 2))
        # Small objects count as much as large ones.
        bce = (bce / t.mean((1, 2)).clamp(min=0.03).sqrt()).mean()
        p = torch.sigmoid(x)
        dice = 1 - (2 * (p * t).sum((1, 2)) + 5) / (p.square().sum((1, 2)) + t.sum((1, 2)) + 5)
        return bce + self.weights.dice * dice.mean(), dice.mean().detach()

    def items(self) -> tuple[sets.Item, ...]:
        """What is validated on."""
        return sets.fixed_set(Path(self.data.validation) / "composites_dev")[::6]

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """IoU of the visible mask after 1, 3 and 5 clicks and from a box, on every sixth composite."""
        assert isinstance(network, PocketNetwork)
        encode, decode = runners(network, device)
        items = self.items()
        guesses: list[NDArray[np.bool_]] = []
        shown = items[:40]
        scores: dict[str, list[float]] = {k: [] for k in ("click1", "click3", "click5", "box")}
        for item in items:
            scene = Scene(encode, item.image)
            points: list[tuple[float, float]] = []
            labels: list[int] = []
            guess = np.zeros_like(item.visible)
            for k in range(1, 6):
                click = next_click(guess, item.visible)
                if click is not None:
                    points.append(click[0])
                    labels.append(click[1])
                    guess = answer(decode, scene, Prompt(tuple(points), tuple(labels))) > 0.5
                if k in (1, 3, 5):
                    scores[f"click{k}"].append(_iou(guess, item.visible))
                if k == 1 and len(guesses) < len(shown):
                    guesses.append(guess)
            box = Prompt(box=Mask.from_array(item.visible).box)
            scores["box"].append(_iou(answer(decode, scene, box) > 0.5, item.visible))
        return {k: 100 * float(np.mean(v)) for k, v in scores.items()}, sets.picture(shown, guesses)

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        assert isinstance(network, PocketNetwork)
        picture = torch.linspace(-1, 1, 224).expand(1, 4, 224, 224).contiguous()
        prompts = torch.zeros(1, 4, 224, 224)
        prompts[0, 0, 100:110, 100:110] = 1
        network.eval()
        with torch.inference_mode():
            features = network.encoder(picture)
        paths = [folder / f"pocket-segmenter-{part}.onnx" for part in ("encoder", "head")]
        export(network.encoder, [picture], ["picture"], "features", paths[0], {})
        export(network.head, [features.clone(), prompts], ["features", "prompts"], "logits", paths[1], {})
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
            ys, xs = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
            spread = 0.06 * max(xs[-1] - xs[0], ys[-1] - ys[0]) + 1
            x0, y0, x1, y1 = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]) + rng.normal(0, spread / 2, 4)
            self.box = (float(x0), float(y0), float(x1), float(y1))
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


def runners(network: PocketNetwork, device: torch.device) -> tuple[Encode, Decode]:
    """The network as two NumPy functions."""

    @torch.inference_mode()
    def encode(x: NDArray[np.float32]) -> NDArray[np.float32]:
        t = torch.from_numpy(x).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            return np.asarray(network.encoder(t).float().cpu(), np.float32)

    @torch.inference_mode()
    def decode(f: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.autocast(device.type, torch.bfloat16):
            out = network.head(torch.from_numpy(f).to(device), torch.from_numpy(x).to(device))
        return np.asarray(out.float().cpu(), np.float32)

    return encode, decode


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))
