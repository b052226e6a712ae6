"""Going on from a checkpoint: the newest whole one, of the same run or of one changed on purpose.

Invariant: where nothing was changed, what comes after is bit-equal to a run that was never
interrupted; where something was, it was allowed, said and noted in the run folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from hierbert.cache import write_whole
from hierbert.config import RunConfig
from hierbert.config_loading import dump_config
from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.errors import RunError, error_text
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.progress import say
from hierbert.training.checkpoints import load_checkpoint, newest_whole, raise_together
from hierbert.training.fingerprints import (
    CorpusPrint,
    corpus_differences,
    corpus_print,
    encoder_print,
    frozen_print,
    judge_print,
    known_by_state,
    plan_print,
    read_documents,
    save_documents,
)
from hierbert.training.resolved import RESOLVED
from hierbert.training.run_folder import settings_print
from hierbert.training.state import TrainerState

CHANGES = "changes.jsonl"
_ENCODER = ("model.encoder", "model.encoder_revision")


@dataclass(frozen=True)
class ResumeOptions:
    """How a run goes on.

    Attributes:
        resume: Whether it does; False begins it.
        allow_changes: Whether with other settings and documents than before.
        settings: Settings that are not what they were: before and now, by name.
    """

    resume: bool = False
    allow_changes: bool = False
    settings: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Circumstances:
    """What the numbers of a run follow from, beside its weights and its place.

    Attributes:
        corpora: Of each split.
        labels: Names, in order.
        settings: As `settings_print` gives it.
        plan: As `plan_print` gives it.
        judged_by: As `judge_print` gives it.
        frozen: As `frozen_print` gives it.
        encoder: As `encoder_print` gives it.
        unit: Mean and scale of a regression's labels, which the weights of this start would learn.
    """

    corpora: Mapping[str, CorpusPrint]
    labels: list[str]
    settings: str
    plan: str
    judged_by: str
    frozen: str
    encoder: str
    unit: tuple[float, float]

    def note_in(self, state: TrainerState) -> None:
        """Write them into a state."""
        state.corpora, state.labels = known_by_state(self.corpora), self.labels
        state.settings, state.plan = self.settings, self.plan
        state.judged_by, state.frozen = self.judged_by, self.frozen

    def begin_in(self, state: TrainerState) -> None:
        """Write them into the state of a run that begins, with what stays as long as it lasts."""
        self.note_in(state)
        state.encoder = self.encoder
        state.label_mean, state.label_scale = self.unit


def circumstances(
    config: RunConfig,
    splits: Mapping[str, Sequence[PreparedDocument]],
    label_map: LabelMap | None,
    model: HierBertForDocuments,
) -> Circumstances:
    """What a run's numbers follow from.

    Args:
        config: Of the run.
        splits: Documents of train, validation and, where there are some, test.
        label_map: Of the classification head; None without one.
        model: With the weights it begins with.
    """
    corpora = {name: corpus_print(documents, label_map) for name, documents in splits.items()}
    frozen = frozen_print(model)
    return Circumstances(
        corpora=corpora,
        labels=list(label_map.names) if label_map is not None else [],
        settings=settings_print(config),
        plan=plan_print(config, [document.tokens for document in splits["train"]]),
        judged_by=judge_print(config, model, corpora["validation"], frozen),
        frozen=frozen,
        encoder=encoder_print(model),
        unit=(model.config.label_mean, model.config.label_scale),
    )


@dataclass(frozen=True)
class Found:
    """What a resume found.

    Attributes:
        state: Where the run was; None where there is no checkpoint.
        superseded: Checkpoints that are of no use any more once a new one is written.
        changed: Whether something is not as it was when the checkpoint was saved.
    """

    state: TrainerState | None
    superseded: list[Path]
    changed: bool


def take_up(
    config: RunConfig,
    folder: Path,
    model: HierBertForDocuments,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    now: Circumstances,
    options: ResumeOptions,
) -> Found:
    """Load the newest whole checkpoint of a run, when it is of this run.

    Args:
        config: Of the run as it goes on.
        folder: The run's.
        model: The bare model; its weights are set.
        optimizer: Its state is set.
        accelerator: The run's.
        now: Under what it goes on.
        options: What is allowed.

    Returns:
        What was found. Changes are noted in the run folder.

    Raises:
        RunError: No checkpoint is whole, or settings, documents or weights differ.
    """
    path, superseded, before, kept = _agreed_on(accelerator, folder)
    differences = corpus_differences(before.corpora if before else {}, kept, now.corpora)
    if before and before.labels != now.labels:
        raise RunError(
            f"--resume: the labels are others than those of {path}: {_words(before.labels)} -> "
            f"{_words(now.labels)}; its classification head does not know them, start anew with "
            "another run_dir"
        )
    moved = [key for key in _ENCODER if key in options.settings]
    if before and moved and before.encoder != now.encoder:
        shown = "; ".join(f"{key}: {' -> '.join(map(str, options.settings[key]))}" for key in moved)
        raise RunError(
            f"--allow-changes: the weights in {folder} would not fit: {shown} is another encoder, "
            "not the same in another place; put that back, or start anew with another run_dir"
        )
    if before and before.frozen != now.frozen:
        differences.append(
            f"model.encoder={config.model.encoder}: the weights that are not trained are others"
        )
    if differences and not options.allow_changes:
        raise RunError(
            f"--resume: {path or folder} was trained with other documents: "
            f"{'; '.join(differences)}; put them back, go on with them all the same by --resume "
            "--allow-changes, or start anew with another run_dir"
        )
    state = None
    if path is None:
        say(f"no checkpoint in {folder}: starting from the beginning")
    else:
        state = load_checkpoint(path, model, optimizer, accelerator)
        say(f"resuming from {path} (epoch {state.epoch}, step {state.step})")
    kept_unit = _keep_unit(state, model, now) if state is not None else []
    if differences or options.settings:
        _note(config, folder, accelerator, now, differences + kept_unit, options, state)
    # The settings may have been noted by a start that was killed before it saved a checkpoint.
    changed = state is not None and (bool(differences) or state.settings != now.settings)
    return Found(state, superseded, changed)


def _keep_unit(state: TrainerState, model: HierBertForDocuments, now: Circumstances) -> list[str]:
    """Let a regression go on in the unit that its weights have learnt; what to say about it."""
    before = (state.label_mean, state.label_scale)
    if before == now.unit:
        return []
    for place in (model.config, model.classifier):
        if place is not None:
            place.label_mean, place.label_scale = before
    return [
        f"the labels' mean {before[0]:g} and spread {before[1]:g} stay, which the weights have "
        f"learnt (the training documents have {now.unit[0]:g} and {now.unit[1]:g} now)"
    ]


def adapt_state(state: TrainerState, now: Circumstances, epochs: int, steps_per_epoch: int) -> None:
    """Fit a state to changed settings and documents, as far as they reach.

    An epoch in progress begins anew when the order of its documents is another one. What was best
    by other figures is best no more: the weights as they are will be evaluated. The learning rates
    reach 0 at the new end.

    Args:
        state: As the checkpoint had it; changed in place.
        now: Under what it goes on.
        epochs: Of the run.
        steps_per_epoch: Of an epoch.
    """
    if state.plan != now.plan and state.step_in_epoch:
        say(f"epoch {state.epoch + 1} begins anew: the order of its documents is another now")
        state.step_in_epoch = 0
    if state.judged_by != now.judged_by:
        say("the best weights are chosen anew: those so far were chosen by other figures")
        state.best_metric, state.best_scores, state.best_step = None, {}, -1
        state.best_file, state.evaluations_without_gain = {}, 0
        state.evaluation_due = True
    to_go = (epochs - state.epoch) * steps_per_epoch - state.step_in_epoch
    state.schedule_steps = state.updates + max(0, to_go)
    now.note_in(state)


def keep_documents(
    folder: Path, corpora: Mapping[str, CorpusPrint], accelerator: Accelerator
) -> None:
    """Keep the hashes of all documents in the run folder.

    Args:
        folder: The run's.
        corpora: By split.
        accelerator: The run's; the first process writes.

    Raises:
        RunError: They cannot be written, on every process.
    """
    problem = None
    if accelerator.is_main_process:
        try:
            save_documents(folder, corpora)
        except RunError as error:
            problem = str(error)
    raise_together(problem)


def _agreed_on(
    accelerator: Accelerator, folder: Path
) -> tuple[Path | None, list[Path], TrainerState | None, dict[str, list[tuple[str, str]]] | None]:
    """The checkpoint that the first process finds, for all of them."""
    problem: str | None = None
    path: Path | None = None
    damaged: list[tuple[Path, str]] = []
    kept = None
    if accelerator.is_main_process:
        path, damaged = newest_whole(folder / "checkpoints")
        kept = read_documents(folder)
        for other, why in damaged:
            say(f"warning: {other} is damaged and passed over: {why}")
        if path is None and damaged:
            problem = (
                f"--resume: no checkpoint in {folder / 'checkpoints'} is whole: {damaged[0][1]}; "
                "remove that folder to start from the beginning"
            )
    raise_together(problem)
    path = gather_object([path])[0]
    state = None
    if path is not None:
        content = json.loads((path / "state.json").read_text(encoding="utf-8"))
        state = TrainerState.from_json(content["state"])
    return path, [other for other, _ in damaged], state, gather_object([kept])[0]


def _note(
    config: RunConfig,
    folder: Path,
    accelerator: Accelerator,
    now: Circumstances,
    differences: list[str],
    options: ResumeOptions,
    state: TrainerState | None,
) -> None:
    """Say what is not as it was, and keep it in the run folder with the new settings."""
    problem = None
    if accelerator.is_main_process:
        settings = [f"{key}: {old} -> {new}" for key, (old, new) in options.settings.items()]
        for line in (*settings, *differences):
            say(f"changed: {line}")
        row = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "step": state.step if state else 0,
            "settings": {key: list(values) for key, values in options.settings.items()},
            "documents": differences,
        }
        try:
            with (folder / CHANGES).open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(row) + "\n")
            text = dump_config(config)
            write_whole(folder / RESOLVED, lambda aside: _write_text(aside, text))
        except OSError as error:
            why = error_text(error)
            problem = f"{folder} cannot be written: {why}; mend that and go on with --resume"
    raise_together(problem)
    keep_documents(folder, now.corpora, accelerator)


def _words(labels: list[str]) -> str:
    shown = ", ".join(labels[:8])
    return f"{shown}, ... ({len(labels)})" if len(labels) > 8 else shown or "none"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
