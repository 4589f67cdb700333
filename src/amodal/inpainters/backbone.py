"""`Backbone`: what the diffusion networks have in common, and the batch that the sampling loop runs on."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .autoencoder import Autoencoder
from .leak import NOTHING, ORDINARY, sample, weight_map
from .schedulers import SchedulerSteps, make_scheduler

if TYPE_CHECKING:
    import torch

    from ..plugins.protocols import Sampling

__all__ = ["Backbone", "EmptyPrompt", "Offload", "Placement"]

Offload = Literal["none", "model", "layers"]


@dataclass
class Placement:
    """Where networks live and run.

    Attributes:
        device: where they run.
        dtype: the denoising network's precision.
        offload: "none": they stay on the device; "model": each visits it while it works; "layers": each layer does.
    """

    device: torch.device
    dtype: torch.dtype
    offload: Offload = "none"

    def __post_init__(self) -> None:
        if self.device.type == "cpu":
            self.offload = "none"
        self.lock = threading.Lock()

    def settle(self, network: Any) -> Any:
        """Put a network where it waits between its calls."""
        if self.offload == "model":
            return network
        if self.offload == "layers":
            from accelerate import cpu_offload

            return cpu_offload(network, self.device, offload_buffers=True)  # 8-bit weights are buffers
        return network.to(self.device)

    @contextmanager
    def visit(self, network: Any) -> Iterator[None]:
        """The network is on the device inside the block. With "model", one network at a time."""
        if self.offload != "model":
            yield
            return
        with self.lock:
            network.to(self.device)
            try:
                yield
            finally:
                network.to("cpu")


@dataclass(frozen=True)
class EmptyPrompt:
    """What stands for words: the empty prompt's embedding (1, L, C), and its pooled one (1, P) where SDXL and FLUX take it too."""

    embedding: torch.Tensor
    pooled: torch.Tensor | None = None

    def to(self, place: Any) -> EmptyPrompt:
        """The same on a device, or in a precision."""
        return EmptyPrompt(self.embedding.to(place), None if self.pooled is None else self.pooled.to(place))


class Backbone(ABC):
    """A latent diffusion network: encodes, denoises in one loop with leakage, decodes.

    Args:
        autoencoder: pictures to latents.
        network: the denoising network.
        scheduler: the checkpoint's own scheduler.
        prompt: the empty prompt, in the network's precision.
        placement: where it runs.
        blank: blank the area in the picture that the network sees beside the latents even where the picture leaks.
    """

    flow = False

    def __init__(
        self, autoencoder: Any, network: Any, scheduler: Any, prompt: EmptyPrompt, placement: Placement, blank: bool
    ) -> None:
        self.autoencoder = Autoencoder(placement.settle(autoencoder.requires_grad_(False).eval()))
        self.network = placement.settle(network.requires_grad_(False).eval())
        self.own_scheduler = scheduler
        self.prompt = prompt.to(placement.device)
        self.placement = placement
        self.blank = blank

    @property
    @abstractmethod
    def native_size(self) -> int:
        """The side of the pictures that the network was trained on, in pixels."""

    def check_size(self, size: int) -> int:
        """The nearest side that the network can take."""
        step = 2 * self.autoencoder.factor
        return max(step, round(size / step) * step)

    def paint(
        self,
        conditions: torch.Tensor,
        areas: torch.Tensor,
        seeds: Sequence[int],
        sampling: Sampling,
        progress: Callable[[], None],
    ) -> torch.Tensor:
        """One batch.

        Args:
            conditions: (N, 3, H, W) float32 on the CPU.
            areas: (N, 1, H, W) float32 in [0, 1].
            seeds: one per picture.
            sampling: steps, leak, strength, scheduler.
            progress: called after every network evaluation.

        Returns:
            (N, 3, H, W) float32 on the CPU, in [-1, 1].
        """
        import torch

        # 1. One generator a picture, on the CPU: a batch gives what its pictures alone give, on every device.
        generators = [torch.Generator("cpu").manual_seed(seed % 2**63) for seed in seeds]
        device = self.placement.device
        conditions, areas = conditions.to(device), areas.to(device)
        with torch.inference_mode():
            scheduler = make_scheduler(self.own_scheduler, sampling.scheduler, self.flow)
            timing = self.timing(scheduler, sampling.steps, conditions.shape[-1])
            schedule = SchedulerSteps(scheduler, sampling.steps, sampling.strength, generators, device, timing)
            # 2. Leakage weights (N, 1, h, w) at the latents' size h = H / factor; None without leakage.
            leak = sampling.leak or (NOTHING if self.sees_picture else ORDINARY)
            weights = weight_map(self.latent_area(areas), leak)
            # 3. Latents (N, C, h, w): of the condition where they leak or are the start, noise, and channels seen beside.
            with self.placement.visit(self.autoencoder.network):
                leaks = weights is not None or not schedule.from_noise
                known = self.autoencoder.encode(conditions, generators) if leaks else None
                noise = self.noise(conditions, generators)
                blank = self.blank or sampling.leak is None
                shown = conditions * (areas < 0.5) if blank else conditions
                seen = self.seen(shown, areas, None if blank else known, generators)
            pack = self.pack
            # 4. All steps, in the network's own layout.
            with self.placement.visit(self.network):
                predict = self.predictor(schedule, seen, conditions.shape)
                show = self.show(seeds, noise.shape, sampling.watch)
                latents = sample(predict, schedule, pack(known), pack(noise), pack(weights, noise), progress, show)
            # 5. Back to pixels (N, 3, H, W).
            with self.placement.visit(self.autoencoder.network):
                pictures = self.autoencoder.decode(self.unpack(latents, noise.shape))
        return pictures.clamp(-1, 1).cpu()

    def show(self, seeds: Sequence[int], shape: Any, watch: Any) -> Callable[[int, Any], None] | None:
        """Decodes the latents after a step for `Sampling.watch`."""
        if watch is None:
            return None

        def shown(step: int, latents: Any) -> None:
            with self.placement.visit(self.autoencoder.network):
                pictures = self.autoencoder.decode(self.unpack(latents, shape)).clamp(-1, 1).float().cpu()
            watch(seeds, step, pictures.numpy().transpose(0, 2, 3, 1))

        return shown

    def noise(self, pictures: torch.Tensor, generators: list[torch.Generator]) -> torch.Tensor:
        """Standard normal latents for pictures (N, 3, H, W), each from its own generator, the same on every device."""
        import torch

        side = [n // self.autoencoder.factor for n in pictures.shape[-2:]]
        shape = (1, self.autoencoder.channels, *side)
        return torch.cat([torch.randn(shape, generator=g) for g in generators]).to(pictures.device)

    def latent_area(self, areas: torch.Tensor) -> torch.Tensor:
        """Areas (N, 1, H, W) at the latents' resolution, taken like diffusers takes masks (nearest), soft values kept."""
        import torch

        side = [n // self.autoencoder.factor for n in areas.shape[-2:]]
        return torch.nn.functional.interpolate(areas, size=side)

    def pack(self, latents: Any, like: Any = None) -> Any:
        """Latents to the layout that the network works in; `like` gives the channels for a one-channel map."""
        return latents

    def unpack(self, latents: torch.Tensor, shape: Any) -> torch.Tensor:
        """The inverse of `pack`, to `shape`."""
        return latents

    def timing(self, scheduler: Any, steps: int, size: int) -> dict[str, Any]:
        """What the scheduler's `set_timesteps` takes beside the number of steps."""
        return {}

    @property
    @abstractmethod
    def sees_picture(self) -> bool:
        """Whether the network is shown the picture and the area in channels of their own, beside the latents."""

    @abstractmethod
    def seen(
        self, shown: torch.Tensor, areas: torch.Tensor, known: Any, generators: list[torch.Generator]
    ) -> torch.Tensor | None:
        """The constant channels that are joined to the latents, or None; `known` are the latents of `shown`, if made."""

    @abstractmethod
    def predictor(
        self, schedule: SchedulerSteps, seen: torch.Tensor | None, shape: Sequence[int]
    ) -> Callable[[Any, int], Any]:
        """The network as the loop wants it: (latents, index of the step) to its prediction."""
