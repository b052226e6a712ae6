"""Checkpoints to resume from: trained weights, optimizer, random states, and where the run is.

A checkpoint is a folder step_N (step_N_2 where that step has been saved before). Tensors are in
safetensors and the rest is JSON: nothing is ever unpickled. It is written aside, synced and
renamed, and its state.json holds size and SHA-256 of every other file and of itself, so that one
that is not whole is recognised. Weights that training does not change are not in it; they come
from the encoder again.
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hierbert.errors import RunError, error_text
from hierbert.files import write_bytes, write_folder_whole, write_whole
from hierbert.log import log
from hierbert.training.optimization import trained_weights
from hierbert.training.processes import on_first_process
from hierbert.training.run_folder import writing
from hierbert.training.state import TrainerState

_STATE = "state.json"
_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_FORMAT = 3
_NAME = re.compile(r"step_(\d{8,})(?:_(\d+))?")


class DamagedError(RunError):
    """A checkpoint that is not whole; the message says what is wrong with it."""


def find_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run by their names, whole or not, oldest first."""
    return [path for _, path in _numbered(folder)]


def _numbered(folder: Path) -> list[tuple[tuple[int, int], Path]]:
    """Checkpoints in order, each with its step and how often that step had been saved."""
    named = [(_NAME.fullmatch(path.name), path) for path in folder.glob("step_*/")]
    return sorted(((int(name[1]), int(name[2] or 1)), path) for name, path in named if name)


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainerState,
    accelerator: Accelerator,
    keep: int,
    damaged: Sequence[Path] = (),
) -> None:
    """Write `folder`/step_N; every process takes part, the first one writes.

    Args:
        folder: The run's folder of checkpoints.
        model: The bare model, not wrapped for several processes.
        optimizer: AdamW over the model's trained weights.
        state: Where the run is.
        accelerator: The run's.
        keep: Newest checkpoints that stay, with the best weights that they refer to.
        damaged: Checkpoints that the run did not resume from; they go.

    Raises:
        RunError: The checkpoint cannot be written, on every process. Older ones are untouched.
    """
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    random_states = gather_object([random])

    def write(aside: Path) -> None:
        save_weights(model, aside / _WEIGHTS)
        tensors = {
            f"optimizer.{key}.{name}": torch.as_tensor(value).detach().cpu()
            for name, weight in trained_weights(model)
            for key, value in optimizer.state.get(weight, {}).items()
        }
        for rank, states in enumerate(random_states):
            tensors.update({f"random.{rank}.{name}": value for name, value in states.items()})
        save_file(tensors, aside / _OPTIMIZER)
        content = {"state": asdict(state), "processes": accelerator.num_processes}
        if accelerator.scaler is not None:
            content["scaler"] = accelerator.scaler.state_dict()
        seal(aside, content)

    def save() -> None:
        path = _new_checkpoint(folder, state.step)
        with writing(f"checkpoint {path}"):
            write_folder_whole(path, write)
            prune(folder, path, keep, damaged)

    on_first_process(accelerator, save)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator
) -> TrainerState:
    """Put a model, its optimizer and the random states back to where a checkpoint was.

    Learning rates are not in it: they follow from the schedule.

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
        tensors = load_file(path / _OPTIMIZER)
        state = TrainerState.from_json(content["state"])
        _load_weights(model, path / _WEIGHTS)
        for name, weight in trained_weights(model):
            for key in ("step", "exp_avg", "exp_avg_sq"):
                # A weight that has had no gradient yet has no state.
                if (value := tensors.get(f"optimizer.{key}.{name}")) is not None:
                    value = value if key == "step" else value.to(weight.device)
                    optimizer.state[weight][key] = value
        scaler = content.get("scaler")
        if scaler is not None and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(scaler)
        torch.set_rng_state(tensors[f"random.{accelerator.process_index}.cpu"])
        cuda = tensors.get(f"random.{accelerator.process_index}.cuda")
        if cuda is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(cuda)
        return state
    except (DamagedError, OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            f"checkpoint {path} cannot be resumed from: {type(error).__name__} "
            f"{error}; remove its folder to go on from the one before"
        ) from error


def newest_whole(
    folder: Path,
) -> tuple[Path | None, TrainerState | None, list[tuple[Path, str]]]:
    """The checkpoint to resume from.

    Returns:
        The newest one that is as it was written and its state, None where there is none; and the
        newer ones that are not, each with what is wrong with it. The best weights it refers to are
        checked too; where a checkpoint holds the same, a damaged file of them is written anew.
    """
    damaged = []
    for path in reversed(find_checkpoints(folder)):
        try:
            state = TrainerState.from_json(read_sealed(path)["state"])
            if state.best_step >= 0:
                _check_or_restore_best(folder, state)
        except (DamagedError, ValueError, KeyError) as error:
            damaged.append((path, str(error)))
            continue
        return path, state, damaged
    return None, None, damaged


def save_best(
    folder: Path, model: nn.Module, state: TrainerState, accelerator: Accelerator
) -> None:
    """Write the weights as the best so far, beside those that checkpoints may still need.

    Of `state`, best_step is theirs, and best_file is set on every process.

    Raises:
        RunError: The file cannot be written, on every process.
    """
    path = _best(folder, state.best_step)

    def save() -> dict[str, Any]:
        with writing(path):
            write_whole(path, lambda aside: save_weights(model, aside))
            return _size_and_hash(path)

    state.best_file = on_first_process(accelerator, save)


def load_best(folder: Path, model: nn.Module, state: TrainerState) -> None:
    """Read what `save_best` wrote into a model.

    Raises:
        RunError: The file is missing, damaged, or of another model.
    """
    try:
        _check_file(_best(folder, state.best_step), state.best_file)
        _load_weights(model, _best(folder, state.best_step))
    except (DamagedError, OSError, ValueError, SafetensorError) as error:
        raise RunError(f"the best weights in {folder} cannot be read: {error}") from error


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights that training changes."""
    save_file({name: weight.detach().cpu() for name, weight in trained_weights(model)}, path)


def seal(folder: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint's state.json, over its files that are all there; an OSError if not."""
    files = {path.name: _size_and_hash(path) for path in sorted(folder.iterdir())}
    sealed = {"format": _FORMAT, **content, "files": files}
    sealed["sha256"] = _hash_of_json(sealed)
    (folder / _STATE).write_text(json.dumps(sealed, indent=1) + "\n", encoding="utf-8")


def read_sealed(path: Path) -> dict[str, Any]:
    """What `seal` was given for a checkpoint's folder, to the last bit.

    Raises:
        DamagedError: A file is missing or another than was written.
    """
    try:
        content = json.loads((path / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"{_STATE} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{_STATE} cannot be read: {error_text(error)}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DamagedError(f"{_STATE} is not of this version of hierbert")
    if content.pop("sha256", None) != _hash_of_json(content):
        raise DamagedError(f"{_STATE} is not as it was written (its sha256 differs)")
    for name, entry in content.pop("files").items():
        _check_file(path / name, entry)
    del content["format"]
    return content


def prune(folder: Path, newest: Path, keep: int, damaged: Sequence[Path]) -> None:
    """Remove what no resume will need: all but the newest to keep, and what only others need.

    What sorts after the `newest`, just written, is of steps that are done again.
    """
    whole = [path for path in find_checkpoints(folder) if path not in damaged]
    kept = whole[: whole.index(newest) + 1][-keep:]
    for path in {*whole, *damaged} - {*kept}:
        shutil.rmtree(path, ignore_errors=True)
    needed = set()
    for path in kept:
        # What a damaged one needs cannot be said, and nothing can be made of it.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads((path / _STATE).read_text(encoding="utf-8"))
            needed.add(_best(folder, content["state"]["best_step"]))
    for best in {*folder.glob("best_step_*.safetensors")} - needed:
        best.unlink(missing_ok=True)


def _best(folder: Path, step: int) -> Path:
    return folder / f"best_step_{step:08d}.safetensors"


def _new_checkpoint(folder: Path, step: int) -> Path:
    """A name for a checkpoint that is not taken and sorts after those that are."""
    taken = [count for (number, count), _ in _numbered(folder) if number == step]
    return folder / (f"step_{step:08d}" + (f"_{max(taken) + 1}" if taken else ""))


def _load_weights(model: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote, all or nothing; a ValueError where it is of another model."""
    weights, trained = load_file(path), dict(trained_weights(model))
    shapes, expected = ({(n, w.shape) for n, w in own.items()} for own in (weights, trained))
    if differing := sorted({name for name, _ in shapes ^ expected}):
        raise ValueError(
            f"it is of another model: {len(differing)} weights differ, such as {differing[0]}"
        )
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(weights[name])


def _check_or_restore_best(folder: Path, state: TrainerState) -> None:
    """Check the file of best weights; write it anew where a checkpoint holds the same."""
    best = _best(folder, state.best_step)
    try:
        _check_file(best, state.best_file)
    except DamagedError as error:
        for path in find_checkpoints(folder):
            with contextlib.suppress(DamagedError, OSError):
                _check_file(path / _WEIGHTS, state.best_file)
                write_bytes(best, (path / _WEIGHTS).read_bytes())
                log.warning(f"{error}; it is written anew from {path}, which has the same weights")
                return
        raise


def _size_and_hash(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _check_file(path: Path, entry: dict[str, Any]) -> None:
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise DamagedError(f"{path.name} has {size:,} bytes, not {entry['bytes']:,}")
        if _size_and_hash(path)["sha256"] != entry["sha256"]:
            raise DamagedError(f"{path.name} is not as it was written (its sha256 differs)")
    except FileNotFoundError as error:
        raise DamagedError(f"{path.name} is missing") from error
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error_text(error)}") from error


def _hash_of_json(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
