"""Checkpoints to resume from: trained weights, optimizer, random states, and where the run is.

Tensors are in safetensors and the rest is JSON: nothing is ever unpickled. A checkpoint is written
aside and renamed, so that one under its own name is whole. Weights that training does not change
are not in it; they come from the encoder again.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hierbert.cache import reason
from hierbert.errors import RunError
from hierbert.training.optimization import trained_weights

_PREFIX = "step_"


@dataclass
class TrainerState:
    """Where a run is; everything in it is JSON.

    Attributes:
        epoch: Epochs finished.
        step_in_epoch: Optimizer steps done in the current epoch.
        step: Optimizer steps done in all.
        best_metric: Best validation metric so far.
        best_scores: All validation scores of that evaluation; its loss decides between equal
            metrics.
        best_step: Its step.
        evaluations_without_gain: Since the best.
        corpus: Fingerprint of the training documents.
        losses: Sums of the losses since the last line of metrics, by name.
        losses_steps: Steps in those sums.
        skipped_steps: Steps of fp16 that overflowed and changed nothing, so that the schedule
            waited.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    best_metric: float | None = None
    best_scores: dict[str, float] = field(default_factory=dict)
    best_step: int = -1
    evaluations_without_gain: int = 0
    corpus: str = ""
    losses: dict[str, float] = field(default_factory=dict)
    losses_steps: int = 0
    skipped_steps: int = 0


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainerState,
    accelerator: Accelerator,
    keep: int,
) -> None:
    """Write `folder`/step_N; every process takes part.

    Args:
        folder: The run's folder of checkpoints.
        model: The bare model, not wrapped for several processes.
        optimizer: Over the model's trained weights.
        state: Where the run is.
        accelerator: The run's; the first process writes.
        keep: Newest checkpoints that stay.

    Raises:
        RunError: The checkpoint cannot be written. Older ones are untouched.
    """
    random_states = gather_object([_random_states()])
    if accelerator.is_main_process:
        path = folder / f"{_PREFIX}{state.step:08d}"
        aside = folder / f".{path.name}.{os.getpid()}"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            save_weights(model, aside / "weights.safetensors")
            tensors, scalars = _optimizer_tensors(model, optimizer)
            for rank, states in enumerate(random_states):
                tensors.update({f"random.{rank}.{name}": value for name, value in states.items()})
            save_file(tensors, aside / "optimizer.safetensors")
            content = {
                **asdict(state),
                "optimizer": scalars,
                "processes": accelerator.num_processes,
            }
            if accelerator.scaler is not None:
                content["scaler"] = accelerator.scaler.state_dict()
            (aside / "state.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
            for file in aside.iterdir():
                with file.open("rb+") as handle:
                    os.fsync(handle.fileno())
            if path.exists():
                shutil.rmtree(path)
            aside.replace(path)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise RunError(
                f"checkpoint {path} cannot be written: {reason(error)}; mend that and go on with "
                "--resume"
            ) from error
        for old in find_checkpoints(folder)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def find_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.startswith(_PREFIX) and (path / "state.json").is_file()
    )


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator
) -> TrainerState:
    """Put a model, its optimizer and the random states back to where a checkpoint was.

    Args:
        path: A folder that `save_checkpoint` wrote.
        model: The bare model.
        optimizer: Over the model's trained weights.
        accelerator: The run's.

    Returns:
        Where the run was.

    Raises:
        RunError: The checkpoint is damaged, or of another model or number of processes.
    """
    try:
        content = json.loads((path / "state.json").read_text(encoding="utf-8"))
        processes = content.pop("processes")
        if processes != accelerator.num_processes:
            raise RunError(
                f"checkpoint {path} is of a run on {processes} process(es), this one has "
                f"{accelerator.num_processes}: each has random states of its own; resume with "
                f"{processes}"
            )
        tensors = load_file(path / "optimizer.safetensors")
        load_weights(model, path / "weights.safetensors")
        _load_optimizer(model, optimizer, tensors, content.pop("optimizer"))
        scaler = content.pop("scaler", None)
        if scaler is not None and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(scaler)
        prefix = f"random.{accelerator.process_index}."
        states = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        _set_random_states(states)
        return TrainerState(**content)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            f"checkpoint {path} cannot be resumed from: {type(error).__name__} {error}; remove "
            "its folder to go on from the one before"
        ) from error


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights that training changes."""
    save_file({name: weight.detach().cpu() for name, weight in trained_weights(model)}, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote into a model.

    Raises:
        KeyError: The file is of another model, or other weights were trained.
    """
    weights = load_file(path)
    trained = dict(trained_weights(model))
    if weights.keys() != trained.keys():
        raise KeyError(f"weights differ: {sorted(weights.keys() ^ trained.keys())[:3]}")
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(weights[name])


def _optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """AdamW's state by the names of weights, and the groups' plain numbers."""
    tensors = {}
    for name, weight in trained_weights(model):
        for key, value in optimizer.state.get(weight, {}).items():
            tensors[f"optimizer.{key}.{name}"] = torch.as_tensor(value).detach().cpu()
    return tensors, {"learning_rates": [group["lr"] for group in optimizer.param_groups]}


def _load_optimizer(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, Tensor],
    scalars: dict[str, Any],
) -> None:
    for name, weight in trained_weights(model):
        state = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors.get(f"optimizer.{key}.{name}")
            if value is not None:
                state[key] = value if key == "step" else value.to(weight.device)
        # A weight that has had no gradient yet has no state.
        if state:
            optimizer.state[weight] = state
    for group, rate in zip(optimizer.param_groups, scalars["learning_rates"], strict=True):
        group["lr"] = rate


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
