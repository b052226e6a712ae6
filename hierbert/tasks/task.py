"""A task: what a head learns from a corpus, and how its answers are scored and reported.

A task is one file in this folder, named as its head is; no other file names it. It reads documents
and settings; what must travel with a model goes into the model's config. See docs/extend.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from torch import Tensor

import hierbert.model.processing_hierbert  # noqa: F401 (it registers the heads of this package)
from hierbert.config import RunConfig
from hierbert.data.columns import check_columns, field_setting
from hierbert.data.document import Example
from hierbert.errors import ConfigError, ModelError, setting_name
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.features import FEATURES
from hierbert.model.heads import HEADS, Answered
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.segmentation import SegmentedDocument
from hierbert.scoring.metric import metrics_of, shown_metrics

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource
    from hierbert.tasks.prepared import PreparedDocument


@dataclass(frozen=True)
class HeldOut:
    """Answers to documents that nothing behind them was fitted to; see `Task.keep`."""

    documents: Sequence["PreparedDocument"]
    kept: Sequence[Any]


class Completed(Protocol):
    """What `Task.complete` has fitted; it travels to the other processes.

    Attributes:
        held_out: Answers of the completed model, to be calibrated on.
        results: Entries of the results.
        line: For the log.
    """

    held_out: HeldOut
    results: dict[str, Any]
    line: str

    def put_into(self, model: HierBertForDocuments) -> None:
        """Change a model, on any process."""
        ...

    def members(
        self,
        documents: Sequence["PreparedDocument"],
        kept: Sequence[Any],
        config: HierBertConfig,
        vectors: "VectorSource | None",
    ) -> dict[str, tuple[HeldOut, Sequence[Any]]]:
        """What the parts of the model would keep alone, by name: held-out answers, and these.

        None where the report's baselines are of the same kinds.

        Args:
            documents: Any.
            kept: What the whole model, of this `config`, keeps of each.
            config: As it answers now.
            vectors: See `Task.complete`.
        """
        return {}


@dataclass(frozen=True)
class Scored:
    """Documents and a model's answers, to be reported.

    Attributes:
        documents: Of the split that was scored.
        kept: The result of `Task.keep` for each.
        train: Training documents, for baselines; empty where there are none.
        config: The model's.
        seed: Of random draws.
        baselines: Whether to score those too.
        vectors: Of a frozen encoder, for baselines; None where it has learnt from `train`, or would
            have to read it first.
    """

    documents: Sequence["PreparedDocument"]
    kept: Sequence[Any]
    train: Sequence["PreparedDocument"] = field(default_factory=list)
    config: HierBertConfig = field(default_factory=HierBertConfig)
    seed: int = 0
    baselines: bool = True
    vectors: "VectorSource | None" = None


class Task:
    """One task of a model; a subclass is the task, found by its name, and an instance knows a run.

    Attributes:
        name: Of the task and of its head.
        field: Of an `Example` that holds its targets: "label", "summary", or one that
            `data.columns` names; None where they are made of the text. A run has the task where
            its settings name the field's column.
        optional_fields: Others that they are made of too where the settings name a column.
        auto_metric: Name of the metric that chooses checkpoints unless another is asked for.
        problem_type: What its metrics apply to; see `hierbert.scoring.Metric`. Empty for its name.
    """

    name: ClassVar[str]
    field: ClassVar[str | None] = None
    optional_fields: ClassVar[tuple[str, ...]] = ()
    auto_metric: str
    problem_type: str = ""

    @property
    def bounded_metric(self) -> str:
        """In place of `auto_metric` in a mean with other tasks: at most 1, greater is better."""
        return self.auto_metric

    @property
    def stratifies(self) -> bool:
        """Whether a validation split may be drawn label by label."""
        return True

    # --- From settings and documents to what is learnt.

    @classmethod
    def learn(cls, config: RunConfig, train: Sequence[Example]) -> "Task":
        """The task of a run, from all settings and the training documents.

        Raises:
            ConfigError: Settings do not go with the documents.
            DataError: The documents have nothing to learn it from.
        """
        raise NotImplementedError

    @classmethod
    def of_model(cls, config: HierBertConfig) -> "Task":
        """The task of a trained model, from the model's config."""
        raise NotImplementedError

    def reading(self, data: Mapping[str, Any]) -> "Task":
        """The task of a trained model, for documents that are written in a way of their own.

        Args:
            data: How, by the names that `data.*` has for it, such as "label_separator".

        Raises:
            ConfigError: It does not go with the model.
        """
        return self

    def model_settings(self, config: RunConfig, train: Sequence[Example]) -> dict[str, Any]:
        """Fields of `HierBertConfig` that its head and its answers need.

        `head_settings` and `features` of several tasks are joined; a head, and a feature that it
        reads, need an entry there only for settings of their own.
        """
        return {}

    def continued(self, config: HierBertConfig) -> dict[str, Any] | None:
        """Whether a trained model's head answers this question, so that its weights go on.

        Args:
            config: Of a model that has such a head.

        Returns:
            Fields of its config that the weights are made for; None where the head must be new.
        """
        return {}

    def encode(self, example: Example) -> Any:
        """The target of an example as plain data; None where it has none.

        Raises:
            DataError: It is not allowed.
        """
        raise NotImplementedError

    def check(self, splits: Mapping[str, Sequence[Example]], config: HierBertConfig) -> None:
        """Refuse documents, by the split's name, that the model cannot learn.

        Raises:
            DataError: Names the document.
        """

    def note(self, examples: Sequence[Example]) -> str | None:
        """What a split lacks, for the log; None where it lacks nothing."""
        without = sum(self.field is not None and one.fields[self.field] is None for one in examples)
        return f"{without:,} without a {self.field}" if without else None

    def prepare(
        self,
        examples: Sequence[Example],
        segmented: Sequence[SegmentedDocument],
        cache: Path | None,
        description: str,
    ) -> list[Any]:
        """The targets of a split's documents; None where a document has none.

        Args:
            examples: Documents of one split.
            segmented: The same.
            cache: Folder for what takes long to make; None keeps nothing.
            description: What progress calls this.
        """
        return [self.encode(example) for example in examples]

    def plain(self, target: Any) -> Any:
        """A target by names rather than numbers, for the document's hash; JSON."""
        return target

    def definitions(self) -> Mapping[str, Mapping[str, Any]]:
        """What targets mean, which a run goes on with: by a setting's name its items; JSON."""
        return {}

    def counts(self, target: Any, document: SegmentedDocument) -> bool:
        """Whether a document weighs in the loss."""
        return target is not None

    def collate(self, targets: Sequence[Any], documents: Sequence[SegmentedDocument]) -> Tensor:
        """Targets as the head's `losses` reads them; None is marked as missing."""
        raise NotImplementedError

    # --- From a model's answers to figures.

    def keep(self, answered: Answered, document: "PreparedDocument", config: HierBertConfig) -> Any:
        """The part of an answer that scoring reads: plain data that travels between processes."""
        raise NotImplementedError

    def metrics(self) -> list[str]:
        """Names of its scores that may choose checkpoints, all in `hierbert.scoring.METRICS`."""
        return [metric.name for metric in metrics_of(self.problem_type or self.name)]

    def score(
        self, documents: Sequence["PreparedDocument"], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, float]:
        """Its scores over the documents that have targets; empty where none has.

        Args:
            documents: The corpus.
            kept: The result of `keep` for each.
            config: The model's.
        """
        raise NotImplementedError

    def intervals(
        self,
        documents: Sequence["PreparedDocument"],
        kept: Sequence[Any],
        config: HierBertConfig,
        seed: int,
    ) -> dict[str, dict[str, float]]:
        """95 % intervals of `score`, "low" and "high" by the metric; of some metrics, or none.

        Args:
            documents: The corpus.
            kept: The result of `keep` for each.
            config: The model's.
            seed: Of the draws.
        """
        return {}

    def complete(
        self,
        model: HierBertForDocuments,
        splits: Mapping[str, Sequence["PreparedDocument"]],
        kept: Sequence[Any],
        vectors: "VectorSource | None",
        processor: HierBertProcessor,
    ) -> "Completed | None":
        """Fit what is not learnt by steps, once these are over; by default nothing.

        Args:
            model: As it was trained.
            splits: Documents of "train" and "validation".
            kept: The result of `keep` for each of validation.
            vectors: Of a frozen encoder, for any of these documents and others; None for one that
                was trained.
            processor: Segments others.
        """
        return None

    @property
    def calibrates(self) -> bool:
        """Whether `complete` or `calibrate` may have something to fit."""
        return type(self).calibrate is not Task.calibrate

    def calibrate(
        self, documents: Sequence["PreparedDocument"], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, Any]:
        """Fit answers to documents that were not trained on, by a model of this config.

        Returns:
            Fields of the model's config to set, under "config"; an entry of the results, under
            "results"; and a line for the log, under "line". Empty where nothing was fitted.
        """
        return {}

    @property
    def tunes(self) -> bool:
        """Whether `tune` is to be asked, for which the validation documents are answered again."""
        return False

    def tune(
        self, documents: Sequence["PreparedDocument"], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, Any]:
        """Choose how the completed model answers, by its answers to documents held out.

        Returns:
            As `calibrate`.
        """
        return {}

    # --- What users read.

    def learning_baselines(self) -> list[str]:
        """Titles of baselines of its report that learn from `Scored.train`."""
        return []

    def report(self, scored: Scored) -> dict[str, Any]:
        """Entries of results.json: baselines, intervals, details.

        What is under "by_document" goes to a run's answers.jsonl instead: by the name of a system,
        "hierbert" among them, what it answers or scores for each document with a target; JSON.
        What is under "examples" quotes documents, and goes to report.html and report.md alone:
        results.json may be published. `hierbert.reporting.sections` draws entries by their names.
        """
        return {}

    def tables(self, results: dict[str, Any]) -> Iterable[str]:
        """Tables for a terminal, from the content of results.json; at most 79 columns wide."""
        return []

    def sample(self, document: "PreparedDocument", kept: Any, config: HierBertConfig) -> list[str]:
        """One document's answers in words, a line each."""
        return []

    def card(self, config: HierBertConfig, results: dict[str, Any]) -> dict[str, Any]:
        """Facts for the model's card.

        Args:
            config: The model's.
            results: Of its run; every part that a run may lack is there, as None.

        Returns:
            `template` (a file of this folder, with the macros of task.md.jinja), `hub_task` (None
            where the Hub knows no such task), `tags`, `metrics` that were scored, whether there
            are figures to show (`has_figures`), and what the template words.
        """
        return {
            "template": "task.md.jinja",
            "hub_task": None,
            "tags": [],
            "metrics": shown_metrics([m for m in self.metrics() if m in results["scores"]]),
            "has_figures": False,
            "name": self.name,
        }


TASKS: dict[str, type[Task]] = {}

_Kind = TypeVar("_Kind", bound=type[Task])


def register_task(task: _Kind) -> _Kind:
    """Register a kind of task, as a class decorator."""
    TASKS[task.name] = task
    return task


def learn_tasks(config: RunConfig, train: Sequence[Example]) -> list[Task]:
    """The tasks that a run's settings ask for, at least one, else a ConfigError."""
    read = config.data.fields
    features = {name for feature in FEATURES.values() for name in feature.fields}
    known = _known().values()
    fields = {name for task in known for name in (str(task.field), *task.optional_fields)}
    check_columns(config.data.columns, fields | features)
    asked = []
    for task in known:
        if task.field is None or task.field in read:
            asked.append(task)
        elif lacking := read.keys() & {*task.optional_fields}:
            raise ConfigError(
                f"is read for {task.name} alone; set {setting_name(field_setting(task.field))} too",
                setting=f"data.columns.{min(lacking)}",
            )
    if not asked:
        raise ConfigError(
            f"nothing to learn: no task that is known here reads {', '.join(read)}; import the "
            "module that registers it first"
        )
    return [task.learn(config, train) for task in asked]


def tasks_of_model(config: HierBertConfig) -> list[Task]:
    """The tasks of a trained model; a ModelError where one is not registered here."""
    known = _known()
    for name in config.head_names:
        if name not in known:
            raise ModelError(
                f"the model has a head for {name}, a task that is not known here; known are "
                f"{', '.join(known)}: import the module that registers it first"
            )
    return [known[name].of_model(config) for name in config.head_names]


def _known() -> dict[str, type[Task]]:
    for name in sorted(HEADS):  # in whatever order heads were imported
        if name not in TASKS and find_spec(f"hierbert.tasks.{name}"):
            import_module(f"hierbert.tasks.{name}")
    return TASKS
