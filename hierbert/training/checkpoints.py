"""Checkpoints to resume from: trained weights, optimizer, random states, and where the run is.

A checkpoint is a folder step_N (step_N_2 where that step has been saved before). Tensors are in
safetensors and the rest is JSON: nothing is ever unpickled. It is written aside, synced and
renamed, and its state.json holds size and SHA-256 of every other file and of itself, so that one
that is not whole is recognised. Weights that training does not change are not in it; they come
from the encoder again.
"""

import contextlib
import json
import re
import shutil
from dataclasses import asdict, dataclass
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
from hierbert.state_files import CHECKSUM, ShapeError, file_checksum, of_shape, with_checksum
from hierbert.training.optimization import trained_weights
from hierbert.training.processes import on_first_process
from hierbert.training.run_folder import writing
from hierbert.training.state import TrainerState

_STATE = "state.json"
_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_FORMAT = 3
_NAME = re.compile(r"step_(\d{8,})(?:_(\d+))?")


@dataclass
class _Sealed:
    """What a checkpoint's state.json holds."""

    format: int
    state: dict[str, Any]
    processes: int
    files: dict[str, dict[str, Any]]
    scaler: dict[str, Any] | None = None


class DamagedError(RunError):
    """A checkpoint that is not whole; the message says what is wrong with it."""


_UNUSABLE = (DamagedError, ShapeError, OSError, ValueError, KeyError, SafetensorError)


class Checkpoints:
    """The checkpoints of a run, and the best weights so far beside them.

    All processes call a method together, unless it says otherwise, and the first one writes. The
    model is the bare one; `keep` of the newest stay, with the best weights that they refer to.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        keep: int,
    ) -> None:
        self.folder = folder
        self.model = model
        self.optimizer = optimizer
        self.accelerator = accelerator
        self.keep = keep
        self._damaged: list[Path] = []

    def save(self, state: TrainerState) -> None:
        """Write step_N, and remove what no resume will need.

        A RunError, on every process, where it cannot be written; older ones are untouched.
        """
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        random_states = gather_object([random])

        def write(aside: Path) -> None:
            save_weights(self.model, aside / _WEIGHTS)
            tensors = {
                f"optimizer.{key}.{name}": torch.as_tensor(value).detach().cpu()
                for name, weight in trained_weights(self.model)
                for key, value in self.optimizer.state.get(weight, {}).items()
            }
            for rank, states in enumerate(random_states):
                tensors.update({f"random.{rank}.{name}": value for name, value in states.items()})
            save_file(tensors, aside / _OPTIMIZER)
            content = {"state": asdict(state), "processes": self.accelerator.num_processes}
            if self.accelerator.scaler is not None:
                content["scaler"] = self.accelerator.scaler.state_dict()
            seal(aside, content)

        def save() -> None:
            path = _new_checkpoint(self.folder, state.step)
            with writing(f"checkpoint {path}"):
                write_folder_whole(path, write)
                self._prune(path)

        on_first_process(self.accelerator, save)

    def load(self, path: Path) -> TrainerState:
        """Put model, optimizer and random states back to where a checkpoint was.

        Learning rates are not in it: they follow from the steps. A RunError where it is damaged, or
        of another model or number of processes.
        """
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        try:
            content = read_sealed(path)
            if content["processes"] != processes:
                raise RunError(
                    f"checkpoint {path} is of a run on {content['processes']} process(es), this "
                    f"one has {processes}: each has random states of its own; resume with "
                    f"{content['processes']}"
                )
            tensors = load_file(path / _OPTIMIZER)
            state = TrainerState.from_json(content["state"])
            _load_weights(self.model, path / _WEIGHTS)
            for name, weight in trained_weights(self.model):
                for key in ("step", "exp_avg", "exp_avg_sq"):
                    # A weight that has had no gradient yet has no state.
                    if (value := tensors.get(f"optimizer.{key}.{name}")) is not None:
                        value = value if key == "step" else value.to(weight.device)
                        self.optimizer.state[weight][key] = value
            if self.accelerator.scaler is not None and "scaler" in content:
                self.accelerator.scaler.load_state_dict(content["scaler"])
            torch.set_rng_state(tensors[f"random.{rank}.cpu"])
            if torch.cuda.is_available() and f"random.{rank}.cuda" in tensors:
                torch.cuda.set_rng_state(tensors[f"random.{rank}.cuda"])
            return state
        except _UNUSABLE as error:
            raise RunError(
                f"checkpoint {path} cannot be resumed from: {type(error).__name__} "
                f"{error}; remove its folder to go on from the one before"
            ) from error

    def newest_whole(self) -> tuple[Path, TrainerState] | None:
        """The checkpoint to resume from, on the first process; None where there is none at all.

        It is the newest that is as it was written, and the best weights it refers to with it; where
        a checkpoint holds the same, a damaged file of them is written anew. Damaged checkpoints go
        when a new one is written. A RunError where there are some, and none is whole.
        """
        why = ""
        for path in reversed(find_checkpoints(self.folder)):
            try:
                state = TrainerState.from_json(read_sealed(path)["state"])
                if state.best_step >= 0:
                    self._check_or_restore_best(state)
                return path, state
            except (DamagedError, ShapeError) as error:
                log.warning(f"{path} is damaged and passed over: {error}")
                self._damaged.append(path)
                why = why or str(error)
        if self._damaged:
            raise RunError(
                f"--resume: no checkpoint in {self.folder} is whole: {why}; "
                "remove that folder to start from the beginning"
            )
        return None

    def save_best(self, state: TrainerState) -> None:
        """Write the weights as the best, those of `best_step`, and set `best_file` of the state.

        What checkpoints may still need stays. A RunError, on every process, where the file cannot
        be written.
        """
        path = self._best(state.best_step)

        def save() -> dict[str, Any]:
            with writing(path):
                write_whole(path, lambda aside: save_weights(self.model, aside))
                return _size_and_hash(path)

        state.best_file = on_first_process(self.accelerator, save)

    def load_best(self, state: TrainerState) -> None:
        """Read what `save_best` wrote into the model; a RunError where it is not as written."""
        path = self._best(state.best_step)
        try:
            _check_file(path, state.best_file)
            _load_weights(self.model, path)
        except (DamagedError, OSError, ValueError, SafetensorError) as error:
            raise RunError(f"the best weights in {self.folder} are damaged: {error}") from error

    def _best(self, step: int) -> Path:
        return self.folder / f"best_step_{step:08d}.safetensors"

    def _check_or_restore_best(self, state: TrainerState) -> None:
        best = self._best(state.best_step)
        try:
            _check_file(best, state.best_file)
        except DamagedError as error:
            for path in find_checkpoints(self.folder):
                with contextlib.suppress(DamagedError, OSError):
                    _check_file(path / _WEIGHTS, state.best_file)
                    write_bytes(best, (path / _WEIGHTS).read_bytes())
                    log.warning(
                        f"{error}; it is written anew from {path}, which has the same weights"
                    )
                    return
            raise

    def _prune(self, newest: Path) -> None:
        """Remove all but the newest to keep, and best weights that only others need.

        What sorts after the `newest`, just written, is of steps that are done again.
        """
        paths = find_checkpoints(self.folder)
        whole = [path for path in paths if path not in self._damaged]
        kept = whole[: whole.index(newest) + 1][-self.keep :]
        for path in {*paths} - {*kept}:
            shutil.rmtree(path, ignore_errors=True)
        needed = set()
        for path in kept:
            # What a damaged one needs cannot be said, and nothing can be made of it.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                content = json.loads((path / _STATE).read_text(encoding="utf-8"))
                needed.add(self._best(content["state"]["best_step"]))
        for best in {*self.folder.glob("best_step_*.safetensors")} - needed:
            best.unlink(missing_ok=True)


def find_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run by their names, whole or not, oldest first."""
    return [path for _, path in _numbered(folder)]


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights that training changes."""
    save_file({name: weight.detach().cpu() for name, weight in trained_weights(model)}, path)


def seal(folder: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint's state.json, over its files that are all there; an OSError if not."""
    files = {path.name: _size_and_hash(path) for path in sorted(folder.iterdir())}
    sealed = with_checksum({"format": _FORMAT, **content, "files": files})
    (folder / _STATE).write_text(json.dumps(sealed, indent=1) + "\n", encoding="utf-8")


def read_sealed(path: Path) -> dict[str, Any]:
    """What `seal` was given; a DamagedError where a file is missing or another than was written."""
    try:
        content = json.loads((path / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"{_STATE} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{_STATE} cannot be read: {error_text(error)}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DamagedError(f"{_STATE} is not of this version of hierbert")
    written = content
    content = {name: value for name, value in written.items() if name != CHECKSUM}
    if written != with_checksum(content):
        raise DamagedError(f"{_STATE} is not as it was written (its sha256 differs)")
    try:
        sealed = of_shape(content, _Sealed, _STATE)
    except ShapeError as error:
        raise DamagedError(error.message) from error
    for name, entry in sealed.files.items():
        _check_file(path / name, entry)
    del content["format"], content["files"]
    return content


def _numbered(folder: Path) -> list[tuple[tuple[int, int], Path]]:
    """Checkpoints in order, each with its step and how often that step had been saved."""
    named = [(_NAME.fullmatch(path.name), path) for path in folder.glob("step_*/")]
    return sorted(((int(name[1]), int(name[2] or 1)), path) for name, path in named if name)


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


def _size_and_hash(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_checksum(path)}


def _check_file(path: Path, entry: dict[str, Any]) -> None:
    try:
        found = _size_and_hash(path)
    except FileNotFoundError as error:
        raise DamagedError(f"{path.name} is missing") from error
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error_text(error)}") from error
    if found["bytes"] != entry.get("bytes"):
        raise DamagedError(f"{path.name} has {found['bytes']:,} bytes, not {entry.get('bytes')}")
    # Version 0.1.0 wrote the name of the file too.
    if found["sha256"] != entry.get("sha256"):
        raise DamagedError(f"{path.name} is not as it was written (its sha256 differs)")
