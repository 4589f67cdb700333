"""The training loop: one for all of the project's networks."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..devices import pick_device
from . import checkpoint
from .recipe import Recipe
from .schedule import Average, learning_rate
from .task import BatchSource, Task

__all__ = ["Trainer", "read_weights"]


class _Numbered(Dataset[Any]):
    """Batches `start` ... `stop` of a source, each tensor made without a copy."""

    def __init__(self, source: BatchSource, start: int, stop: int) -> None:
        self.source, self.start, self.stop = source, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        if i >= len(self):
            raise IndexError(i)
        return tuple(torch.from_numpy(x) for x in self.source[self.start + i])


def _keep_out_of_the_way(_: int) -> None:
    """Data processes yield to the training process and use one thread each."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def read_weights(network: nn.Module, path: Path) -> None:
    """Load averaged weights (.safetensors, fp32 or fp16) into a network.

    Raises:
        CheckpointError: unreadable, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = {k: v.float() if v.dtype == torch.float16 else v for k, v in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise checkpoint.CheckpointError(f"cannot read the weights {path}: {error}") from None
    checkpoint.check_fits(network, weights, str(path))
    network.load_state_dict(weights)


class Trainer:
    """A run in a folder: `recipe.json`, `log.csv`, `validation.csv`, `checkpoint.pt`, `weights.safetensors`, sheets.

    Args:
        recipe: What to do.
        task: The network's own part.
        folder: Where the run lives; made if missing.
    """

    def __init__(self, recipe: Recipe, task: Task, folder: Path) -> None:
        self.recipe, self.task, self.folder = recipe, task, folder
        run = recipe.run
        self.device = pick_device(run.device)
        if run.threads and self.device.type == "cpu":
            torch.set_num_threads(run.threads)
        torch.manual_seed(run.seed)
        self.network = task.network().to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step = 0
        if run.init_from:
            read_weights(self.network, Path(run.init_from))
        self.average = Average(self.network, recipe.optimizer.ema)
        self.optimizer = self._optimizer()
        self.writer = _tensorboard(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.json").write_text(json.dumps(recipe.to_dict(), indent=1))

    def _optimizer(self) -> torch.optim.Optimizer:
        config = self.recipe.optimizer
        if config.name == "sgd":
            every = self.network.parameters()
            return torch.optim.SGD(every, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
        rates: dict[str, float] = getattr(self.task, "rates", {})
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, parameter in self.network.named_parameters():
            factor = next((rate for start, rate in rates.items() if name.startswith(start)), 1.0)
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            new = {"params": [], "weight_decay": decay, "factor": factor}
            groups.setdefault((factor, -decay), new)["params"].append(parameter)
        ordered = [groups[key] for key in sorted(groups)]
        return torch.optim.AdamW(ordered, lr=config.lr, fused=True)

    def resume(self) -> None:
        """Take up the run in `folder` where its checkpoint left it."""
        state = checkpoint.load(self.folder)
        checkpoint.check_fits(self.network, state["network"], str(self.folder / checkpoint.NAME))
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        self.step = int(state["step"])

    def save(self) -> None:
        """Write the checkpoint and the averaged weights."""
        from safetensors.torch import save_file

        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "recipe": json.dumps(self.recipe.to_dict()),
        }
        checkpoint.save(self.folder, state)
        weights = {k: v.contiguous() for k, v in self.average.network.state_dict().items()}
        temporary = self.folder / ".weights.safetensors"
        save_file(weights, temporary, metadata={"step": str(self.step), "task": self.recipe.task})
        temporary.replace(self.folder / "weights.safetensors")

    def train(self) -> dict[str, float]:
        """Run to the recipe's last step; returns the last validation's metrics."""
        run = self.recipe.run
        metrics: dict[str, float] = {}
        mark, first = time.monotonic(), self.step
        sums: dict[str, float] = {}
        stream = iter(self._batches())
        while batches := tuple(islice(stream, run.accumulate)):
            parts = self._one(batches)
            self.step += 1
            for k, v in parts.items():
                sums[k] = sums.get(k, 0.0) + v
            if self.step % run.log_every == 0 or self.step == run.steps:
                self._log(sums, self.step - first, time.monotonic() - mark)
                sums, mark, first = {}, time.monotonic(), self.step
            if self.step % run.checkpoint_every == 0 or self.step == run.steps:
                self.save()
            if self.step % run.validate_every == 0 or self.step == run.steps:
                metrics = self._validate()
                mark = time.monotonic()
        return metrics

    def _batches(self) -> DataLoader[Any]:
        run = self.recipe.run
        source = self.task.source(run.seed, run.batch)
        numbered = _Numbered(source, self.step * run.accumulate, run.steps * run.accumulate)
        workers: dict[str, Any] = {"prefetch_factor": 6, "multiprocessing_context": "fork"} if run.workers else {}
        return DataLoader(
            numbered,
            batch_size=None,
            num_workers=run.workers,
            worker_init_fn=_keep_out_of_the_way,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # its own, so that starting a loader does not move the run's random numbers
            **workers,
        )

    def _one(self, batches: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
        """One optimizer step; the gradients of all `batches` are averaged."""
        config = self.recipe.optimizer
        rate = learning_rate(config, self.step, self.recipe.run.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for batch in batches:
            moved = tuple(x.to(self.device, non_blocking=True) for x in batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.run.precision == "bf16"):
                loss, parts = self.task.loss(self.network, moved, self.step)
            (loss / len(batches)).backward()  # type: ignore[no-untyped-call]
            for name, value in {"loss": loss, **parts}.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(batches)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update(self.network, self.step)
        return {"loss": sums.pop("loss"), "grad": float(norm), **sums}

    def _log(self, sums: dict[str, float], count: int, seconds: float) -> None:
        run = self.recipe.run
        rate = count / seconds
        row = {"step": self.step, "samples_per_second": round(rate * run.batch * run.accumulate, 2)}
        row |= {"lr": round(learning_rate(self.recipe.optimizer, self.step - 1, run.steps), 7)}
        row |= {k: round(v / count, 5) for k, v in sums.items()}
        _append(self.folder / "log.csv", row)
        if self.writer is not None:
            for k, v in row.items():
                self.writer.add_scalar(f"train/{k}", v, self.step)
        left = (run.steps - self.step) / rate
        shown = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k in sums)
        print(
            f"{self.step}/{run.steps}  {rate * run.batch * run.accumulate:.1f} samples/s  {left / 60:.0f} min left  {shown}",
            file=sys.stderr,
            flush=True,
        )

    def _validate(self) -> dict[str, float]:
        import cv2

        began = time.monotonic()
        metrics, sheet = self.task.validate(self.average.network, self.device)
        _append(self.folder / "validation.csv", {"step": self.step, **{k: round(v, 5) for k, v in metrics.items()}})
        if self.writer is not None:
            for k, v in metrics.items():
                self.writer.add_scalar(f"validation/{k}", v, self.step)
        if sheet is not None:
            cv2.imwrite(str(self.folder / "sheet.jpg"), np.ascontiguousarray(sheet[..., ::-1]))
        shown = "  ".join(f"{k} {v:.4f}" for k, v in metrics.items())
        print(f"validation at {self.step} ({time.monotonic() - began:.0f} s)  {shown}", file=sys.stderr, flush=True)
        return metrics


def _append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as f:
        writer = csv.DictWriter(f, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
