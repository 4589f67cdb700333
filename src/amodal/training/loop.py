"""The training loop: one for all of the project's networks."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.utils.data import DataLoader, Dataset

from ..core.errors import AmodalError, reason_of, reported
from ..core.files import write_json
from ..core.paths import own_path
from ..runtime.devices import pick_device
from . import checkpoint
from .recipe import RECORD, Recipe, RecipeError
from .run_folder import LOG, VALIDATION, append_row, cut_table, last_step
from .schedule import Average, learning_rate
from .start import SHIPPED, network_of, read_shipped, read_weights
from .statistics import Statistics
from .task import BatchSource, Task

__all__ = ["Trainer"]


class _Numbered(Dataset[Any]):
    """The batches of a source with the given numbers, each tensor made without a copy."""

    def __init__(self, source: BatchSource, numbers: range) -> None:
        self.source, self.numbers = source, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> tuple[int, tuple[Tensor, ...] | AmodalError]:
        number = self.numbers[i]
        try:
            return number, tuple(torch.from_numpy(x) for x in self.source[number])
        except AmodalError as error:  # raised in a data process, torch would hide it under that process's traceback
            return number, error


class _Graded(nn.Module):
    """Network and loss as one module from a batch to its loss: what accelerate casts and shares among processes."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network, self.task = network, task

    def forward(self, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.task.loss(self.network, batch, number)


def _one_thread() -> None:
    """OpenCV works in the calling thread: a forked process would wait for ever for the threads of its parent's pool."""
    import cv2

    cv2.setNumThreads(1)


def _keep_out_of_the_way(_: int) -> None:
    """Data processes yield to the training process and use one thread each."""
    torch.set_num_threads(1)
    _one_thread()


class Trainer:
    """A run in a folder: `recipe.json`, `log.csv`, `validation.csv`, `checkpoint.pt`, `weights.safetensors`, sheets.

    Several processes (`accelerate launch`, `torchrun`) share the passes of each step, so that the recipe alone decides what is
    learnt; the main one validates and writes.

    Args:
        recipe: What to do.
        task: The network's own part.
        folder: Where the run lives; made if missing.
        begun: It goes on: `resume` brings its weights, and `run.init_from` need not be there any more.

    Raises:
        RecipeError: The processes cannot share the passes evenly, or the device does not know the precision.
    """

    def __init__(self, recipe: Recipe, task: Task, folder: Path, *, begun: bool = False) -> None:
        self.recipe, self.task, self.folder = recipe, task, folder
        run = recipe.run
        self.accelerator = _accelerator(recipe)
        self.main, self.device = self.accelerator.is_main_process, self.accelerator.device
        if run.threads and self.device.type == "cpu":
            torch.set_num_threads(run.threads)
        # 1. The network, from chance, from what ships or from files; its average; compiled where that is wanted.
        torch.manual_seed(run.seed)
        self.network = network_of(task).to(self.device)
        convert_conv2d_weight_memory_format(self.network, torch.channels_last)
        self.step = self.began = 0
        self.sums: dict[str, float] = {}  # of the parts of the loss of the steps since the last log, and how many steps
        self.summed = 0
        if run.init_from == SHIPPED and not begun:
            read_shipped(self.network, task)
        elif run.init_from and not begun:
            read_weights(self.network, own_path(run.init_from))
        self.average = Average(self.network, recipe.optimizer.ema, getattr(task, "plain", ()))
        if run.compile:
            for name in getattr(task, "compiled", ("",)):
                self.network.get_submodule(name).compile()
        # 2. Accelerate wraps loss and optimizer: gradients of several passes and processes are averaged.
        self.graded, self.optimizer = self.accelerator.prepare(_Graded(self.network, task), self._optimizer())
        parts = self.accelerator.process_index, self.accelerator.num_processes
        self.statistics = Statistics(self.network, *parts)
        if self.main:
            folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def writer(self) -> Any:
        """Of TensorBoard's events, if it is installed; the first event makes its folder."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        # TensorBoard forgets what a stopped run wrote after its last checkpoint.
        return SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.began + 1) if self.main else None

    def _optimizer(self) -> torch.optim.Optimizer:
        config = self.recipe.optimizer
        rates: dict[str, float] = getattr(self.task, "rates", {})
        # One group a pair of (factor of the rate, weight decay): vectors (biases, norms) do not decay, but with SGD.
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, parameter in self.network.named_parameters():
            if not parameter.requires_grad:
                continue
            factor = next((rate for start, rate in rates.items() if name.startswith(start)), 1.0)
            decay = config.weight_decay if parameter.ndim > 1 or config.name == "sgd" else 0.0
            new = {"params": [], "weight_decay": decay, "factor": factor}
            groups.setdefault((factor, -decay), new)["params"].append(parameter)
        ordered = [groups[key] for key in sorted(groups)]
        if config.name == "sgd":
            return torch.optim.SGD(ordered, config.lr, momentum=config.momentum)
        return torch.optim.AdamW(ordered, lr=config.lr, betas=config.betas, fused=True)

    def resume(self) -> None:
        """Take up the run in `folder` where its checkpoint left it.

        Raises:
            CheckpointError: there is none, or it is damaged or of another network.
            RecipeError: it is beyond the recipe's last step.
        """
        state = checkpoint.load(self.folder)
        path = self.folder / checkpoint.NAME
        with reported(checkpoint.CheckpointError, f"{path} is not of this run, or damaged", "start the run anew"):
            checkpoint.check_fits(self.network, state["network"], str(path))
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            # Rate, decay and momentum are the recipe's, which `--resume` may have changed; a state brings its own.
            own = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
            self.optimizer.load_state_dict(state["optimizer"])
            for group, said in zip(self.optimizer.param_groups, own, strict=True):
                group.update(said)
            torch.set_rng_state(state["rng"])
            self.step = self.began = int(state["step"])
            self.sums, self.summed = dict(state.get("sums", {})), int(state.get("summed", 0))
        if self.step > self.recipe.run.steps:
            raise RecipeError(
                f"the run in {self.folder} has made {self.step} steps, and run.steps = {self.recipe.run.steps} are fewer; "
                "give as many or more"
            )

    def save(self) -> None:
        """Write the checkpoint and the averaged weights."""
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "sums": self.sums,
            "summed": self.summed,
            "recipe": json.dumps(self.recipe.to_dict()),
        }
        checkpoint.save(self.folder, state)
        self._save_weights()

    def _save_weights(self) -> None:
        weights = {k: v.contiguous() for k, v in self.average.network.state_dict().items()}
        facts = {"step": str(self.step), "task": self.recipe.task, **getattr(self.task, "facts", {})}
        checkpoint.save_weights(self.folder, weights, facts)

    def _make_up(self) -> dict[str, float]:
        """What a kill right after the last checkpoint left undone: its weights, its validation."""
        if checkpoint.weights_step(self.folder) != self.step:
            self._save_weights()
        run = self.recipe.run
        due = self.step % run.validate_every == 0 or self.step == run.steps
        return self._validate() if due and last_step(self.folder / VALIDATION) != self.step else {}

    def train(self) -> dict[str, float]:
        """Run to the recipe's last step; returns the last validation's metrics.

        Raises:
            RecipeError: `run.compile` is set and nothing here can compile.
        """
        if not self.recipe.run.compile:
            return self._train()
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._train()
        except TorchDynamoException as error:
            raise RecipeError(
                f"the network cannot be compiled here ({reason_of(error)}); use run.compile=false"
            ) from error

    def _train(self) -> dict[str, float]:
        run = self.recipe.run
        metrics: dict[str, float] = {}
        # The speed told is that of the steps since the last log, without validation: `mark` is when they began.
        mark, first = time.monotonic(), self.step
        if self.main:
            for name in (LOG, VALIDATION):
                cut_table(self.folder / name, self.step)
            metrics = self._make_up() if self.began else {}
        stream = iter(self._batches())
        # A step takes as many batches as gradients are accumulated over.
        while batches := tuple(islice(stream, self.accelerator.gradient_accumulation_steps)):
            parts = self._one(batches) if self.step > self.began else self._begin(batches)
            self.step += 1
            self.sums |= {k: self.sums.get(k, 0.0) + v for k, v in parts.items()}
            self.summed += 1
            if self.step % run.log_every == 0 or self.step == run.steps:
                self._log((self.step - first) / (time.monotonic() - mark))
                self.sums, self.summed, mark, first = {}, 0, time.monotonic(), self.step
            if self.main and (self.step % run.checkpoint_every == 0 or self.step == run.steps):
                self.save()
            if self.main and (self.step % run.validate_every == 0 or self.step == run.steps):
                pause = time.monotonic()
                metrics = self._validate()
                mark += time.monotonic() - pause
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        if self.step > self.began and self.writer is not None:
            self.writer.close()  # or its thread would go on writing, wherever this process is by then
        return metrics

    def _batches(self) -> DataLoader[Any]:
        run = self.recipe.run
        _one_thread()
        source = self.task.source(run.seed, run.batch)
        # Batches have numbers, and process p of P takes every P-th: the numbers alone decide what is learnt.
        first, last = self.step * run.accumulate, run.steps * run.accumulate
        numbers = range(first + self.accelerator.process_index, last, self.accelerator.num_processes)
        workers: dict[str, Any] = {"prefetch_factor": 6, "multiprocessing_context": "fork"} if run.workers else {}
        return DataLoader(
            _Numbered(source, numbers),
            batch_size=None,
            num_workers=run.workers,
            worker_init_fn=_keep_out_of_the_way,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # its own, so that starting a loader does not move the run's random numbers
            **workers,
        )

    def _begin(self, batches: Sequence[tuple[int, tuple[Tensor, ...] | AmodalError]]) -> dict[str, float]:
        """The first step, which shows whether the parts of a recipe fit each other; only then it is the run's."""
        if self.recipe.run.compile:
            parts = self._one(batches)
        else:
            with reported(
                RecipeError, "the first step of training fails", "change run.batch, the sizes or the network"
            ):
                parts = self._one(batches)
        if self.main:
            write_json(self.folder / RECORD, self.recipe.to_dict())
        return parts

    def _one(self, batches: Sequence[tuple[int, tuple[Tensor, ...] | AmodalError]]) -> dict[str, float]:
        """One optimizer step; the gradients of all `batches`, with those of the other processes, are averaged."""
        for _, batch in batches:
            if isinstance(batch, AmodalError):
                raise batch
        config = self.recipe.optimizer
        # 1. This step's rate, times each group's factor.
        rate = learning_rate(config, self.step, self.recipe.run.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        self.network.train()
        self.optimizer.zero_grad()
        # 2. Gradients of all batches; the named parts of the loss are averaged to be logged.
        sums: dict[str, float] = {}
        for number, batch in batches:
            with self.accelerator.accumulate(self.graded), self._one_statistics():
                loss, parts = self.graded(send_to_device(batch, self.device, non_blocking=True), number)
                self.accelerator.backward(loss)
            for name, value in {"loss": loss, **parts}.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(batches)
        # 3. A step that is not finite is left out; the next one goes on.
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), config.clip or math.inf)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update(self.network, self.step + 1)
        return {"loss": sums.pop("loss"), "grad": float(norm), **sums}

    @contextmanager
    def _one_statistics(self) -> Iterator[None]:
        """A pass after which all processes have the same batch statistics."""
        if self.accelerator.num_processes == 1 or not self.statistics.layers:
            yield
            return
        self.statistics.begin()
        yield
        self.statistics.end(self.accelerator.reduce(self.statistics.part(), "sum"))

    def _log(self, rate: float) -> None:
        """One line of the means since the last log, and of `rate`, steps a second."""
        run, sums = self.recipe.run, self.sums
        if self.accelerator.num_processes > 1:
            together = self.accelerator.reduce(torch.tensor(list(sums.values()), device=self.device), "mean")
            sums = dict(zip(sums, together.tolist(), strict=True))
        if not self.main:
            return
        row = {"step": self.step, "samples_per_second": round(rate * run.batch * run.accumulate, 2)}
        row |= {"lr": float(f"{learning_rate(self.recipe.optimizer, self.step - 1, run.steps):.4g}")}
        row |= {k: round(v / self.summed, 5) for k, v in sums.items()}
        append_row(self.folder / LOG, row)
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
        append_row(self.folder / VALIDATION, {"step": self.step, **{k: round(v, 5) for k, v in metrics.items()}})
        if self.writer is not None:
            for k, v in metrics.items():
                self.writer.add_scalar(f"validation/{k}", v, self.step)
        if sheet is not None:
            cv2.imwrite(str(self.folder / "sheet.jpg"), np.ascontiguousarray(sheet[..., ::-1]))
        shown = "  ".join(f"{k} {v:.4f}" for k, v in metrics.items())
        print(f"validation at {self.step} ({time.monotonic() - began:.0f} s)  {shown}", file=sys.stderr, flush=True)
        return metrics


def _accelerator(recipe: Recipe) -> Accelerator:
    """Devices, mixed precision and processes of a run. Raises RecipeError."""
    run = recipe.run
    device = pick_device(run.device)
    AcceleratorState._reset_state(
        reset_partial_state=True
    )  # it is global, and an earlier run may have wanted other settings
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=6))  # the others wait while the main process validates
    try:
        accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="no" if run.precision == "fp32" else run.precision,
            # Each process has its own batch statistics until `Statistics` joins them.
            kwargs_handlers=[patience, DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
    except ValueError as error:
        raise RecipeError(f"run.precision = {run.precision!r} does not work here: {error}") from None
    accelerator.gradient_accumulation_steps = share(run.accumulate, accelerator.num_processes)
    return accelerator


def share(passes: int, processes: int) -> int:
    """How many passes of a step each process makes. Raises RecipeError if they cannot be shared evenly."""
    if passes % processes:
        raise RecipeError(
            f"{processes} processes share the passes of a step, so run.accumulate must be a multiple of {processes}; it is "
            f"{passes}. Raise it and lower run.batch: a step learns from their product"
        )
    return passes // processes
