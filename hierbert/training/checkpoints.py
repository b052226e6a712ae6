"""Checkpoints to resume from: trained weights, optimizer, random states, and where the run is.

Tensors are in safetensors and the rest is JSON: nothing is ever unpickled. A checkpoint is written
aside, synced and renamed, and knows the hashes of its files, so that one that is not whole is
recognised. Weights that training does not change are not in it; they come from the encoder again.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hierbert.errors import RunError, error_text
from hierbert.files import write_folder_whole
from hierbert.log import log
from hierbert.training.checkpoint_files import (
    WEIGHTS,
    DamagedError,
    check_best,
    find_checkpoints,
    mend_best,
    new_checkpoint,
    prune,
    read_sealed,
    seal,
    write_best,
)
from hierbert.training.optimization import trained_weights
from hierbert.training.state import TrainerState


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainerState,
    accelerator: Accelerator,
    keep: int,
    superseded: Sequence[Path] = (),
) -> None:
    """Write `folder`/step_N; every process takes part.

    Args:
        folder: The run's folder of checkpoints.
        model: The bare model, not wrapped for several processes.
        optimizer: Over the model's trained weights.
        state: Where the run is.
        accelerator: The run's; the first process writes.
        keep: Newest checkpoints that stay, with the best weights that they refer to.
        superseded: Checkpoints that this one stands in for; they go.

    Raises:
        RunError: The checkpoint cannot be written, on every process. Older ones are untouched.
    """
    everyones = gather_object([random_states()])
    problem = None
    if accelerator.is_main_process:
        path = new_checkpoint(folder, state.step)

        def write(aside: Path) -> None:
            save_weights(model, aside / WEIGHTS)
            tensors = _optimizer_tensors(model, optimizer)
            for rank, states in enumerate(everyones):
                tensors.update({f"random.{rank}.{name}": value for name, value in states.items()})
            save_file(tensors, aside / "optimizer.safetensors")
            content = {"state": asdict(state), "processes": accelerator.num_processes}
            if accelerator.scaler is not None:
                content["scaler"] = accelerator.scaler.state_dict()
            seal(aside, content)

        try:
            write_folder_whole(path, write)
            prune(folder, path, keep, superseded)
        except (OSError, SafetensorError) as error:
            problem = (
                f"checkpoint {path} cannot be written: {error_text(error)}; mend that and go on "
                "with --resume"
            )
    raise_together(problem)


def save_best(
    folder: Path, model: nn.Module, state: TrainerState, accelerator: Accelerator
) -> None:
    """Write the weights as the best so far and note their file in the state.

    Args:
        folder: The run's folder of checkpoints.
        model: The bare model.
        state: Its best_step is theirs; best_file is set on every process.
        accelerator: The run's; the first process writes.

    Raises:
        RunError: The file cannot be written, on every process.
    """
    problem, entry = None, None
    if accelerator.is_main_process:
        try:
            entry = write_best(folder, state.best_step, lambda aside: save_weights(model, aside))
        except (OSError, SafetensorError) as error:
            name = f"best_step_{state.best_step:08d}.safetensors"
            problem = (
                f"{folder / name} cannot be written: {error_text(error)}; mend that and go on with "
                "--resume"
            )
    raise_together(problem)
    state.best_file = gather_object([entry])[0]


def newest_whole(folder: Path) -> tuple[Path | None, list[tuple[Path, str]]]:
    """The checkpoint to resume from.

    Args:
        folder: The run's folder of checkpoints.

    Returns:
        The newest one that is as it was written, None where there is none, and the newer ones
        that are not, each with what is wrong with it. The best weights it refers to are checked
        too; where a checkpoint holds the same, a damaged file of them is written anew.
    """
    damaged = []
    for path in reversed(find_checkpoints(folder)):
        try:
            state = TrainerState.from_json(read_sealed(path)["state"])
            if state.best_step >= 0:
                _check_or_mend(folder, state.best_file)
        except (DamagedError, ValueError, KeyError) as error:
            damaged.append((path, str(error)))
            continue
        return path, damaged
    return None, damaged


def _check_or_mend(folder: Path, entry: dict[str, Any]) -> None:
    try:
        check_best(folder, entry)
    except DamagedError as error:
        source = mend_best(folder, entry)
        if source is None:
            raise
        log.warning(f"{error}; it is written anew from {source}, which has the same weights")


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator
) -> TrainerState:
    """Put a model, its optimizer and the random states back to where a checkpoint was.

    Args:
        path: What `newest_whole` found. Learning rates are not in it: they follow from the
            schedule.
        model: The bare model.
        optimizer: Over the model's trained weights.
        accelerator: The run's.

    Returns:
        Where the run was.

    Raises:
        RunError: The checkpoint is damaged, or of another model or number of processes.
    """
    try:
        content = read_sealed(path)
        processes = content["processes"]
        if processes != accelerator.num_processes:
            raise RunError(
                f"checkpoint {path} is of a run on {processes} process(es), this one has "
                f"{accelerator.num_processes}: each has random states of its own; resume with "
                f"{processes}"
            )
        tensors = load_file(path / "optimizer.safetensors")
        state = TrainerState.from_json(content["state"])
        load_weights(model, path / WEIGHTS)
        _load_optimizer(model, optimizer, tensors)
        scaler = content.get("scaler")
        if scaler is not None and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(scaler)
        prefix = f"random.{accelerator.process_index}."
        states = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        set_random_states(states)
        return state
    except (DamagedError, OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            f"checkpoint {path} cannot be resumed from: {type(error).__name__} "
            f"{error}; remove its folder to go on from the one before"
        ) from error


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights that training changes."""
    save_file({name: weight.detach().cpu() for name, weight in trained_weights(model)}, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote into a model; all of it or nothing.

    Raises:
        ValueError: The file is of another model, or other weights were trained.
    """
    weights = load_file(path)
    trained = dict(trained_weights(model))
    differing = weights.keys() ^ trained.keys()
    differing |= {
        name
        for name in trained.keys() & weights.keys()
        if trained[name].shape != weights[name].shape
    }
    if differing:
        shown = ", ".join(sorted(differing)[:3])
        raise ValueError(f"it is of another model: {len(differing)} weights differ ({shown})")
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(weights[name])


def raise_together(problem: str | None) -> None:
    """Let what went wrong on one process end all of them, so that none waits for it.

    Args:
        problem: What went wrong here; None where nothing did.

    Raises:
        RunError: Something went wrong on some process.
    """
    problems = [text for text in gather_object([problem]) if text]
    if problems:
        raise RunError(problems[0])


def random_states() -> dict[str, Tensor]:
    """The states of torch's random generators on this process."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict[str, Tensor]) -> None:
    """Put back what `random_states` returned."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state by the names of weights."""
    tensors = {}
    for name, weight in trained_weights(model):
        for key, value in optimizer.state.get(weight, {}).items():
            tensors[f"optimizer.{key}.{name}"] = torch.as_tensor(value).detach().cpu()
    return tensors


def _load_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
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
