"""One training run from settings and documents to results; `train.py` is one of its users."""

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

from hierbert.config import RunConfig
from hierbert.data.sources import Corpus
from hierbert.errors import ConfigError, quote, type_name
from hierbert.hub import cached_alone
from hierbert.loading.forking import threads_are_used
from hierbert.log import is_first_process
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.prediction.predictor import HierBert
from hierbert.settings import load_config
from hierbert.training.callbacks import Callback
from hierbert.training.loop import TrainingLoop
from hierbert.training.memory import allow_large_pages
from hierbert.training.processes import partners_needed, partners_there
from hierbert.training.pushing import check_push, push_run
from hierbert.training.results import save_run, score_run
from hierbert.training.run import load_corpora, prepare_run
from hierbert.training.run_folder import flat, run_lock
from hierbert.training.signals import StopSignals
from hierbert.training.trackers import require_installed

_LONGEST_WAIT = timedelta(hours=12)
# What stands in the settings of a run for documents that were handed in.
IN_MEMORY = "documents in memory"


class HierBertTrainer:
    """Trains a model on labelled or summarized documents, and scores it::

        trainer = HierBertTrainer("bert-base-uncased", rows, config={"data.label_column": "label"})
        results = trainer.train()
        trainer.model.classify(texts)

    Args:
        model: What to start from: a `HierBert`, the folder or Hub id of one, or an encoder. None
            takes `model.start_from` or `model.encoder` of the settings.
        train: Training documents: a path, a glob, a Hub dataset, or rows in memory (dicts, a
            `datasets.Dataset`, a pandas DataFrame, a generator). None takes `data.train`.
        validation: The same; None takes `data.validation`, else holds a part of the training
            documents out.
        test: The same; None takes `data.test`, else the validation documents are scored.
        config: Settings as `train.py` knows them: a mapping of their names ("training.epochs") to
            values, the path of a YAML file, or a `RunConfig`. None takes the defaults.
        callbacks: What to call while training.

    Attributes:
        config: All settings, checked.
        model: The trained model; before training, the one that was given, if one was, which
            training leaves as it is.
        results: What results.json holds, once trained.
        report: The tables of the results and one document's answers, to be read; empty but on the
            first process.

    Raises:
        ConfigError: A setting is unknown, of the wrong type, or not allowed.
    """

    def __init__(
        self,
        model: HierBert | str | os.PathLike[str] | None = None,
        train: Corpus | None = None,
        validation: Corpus | None = None,
        test: Corpus | None = None,
        config: Mapping[str, Any] | str | os.PathLike[str] | RunConfig | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.given = {
            name: documents
            for name, documents in (("train", train), ("validation", validation), ("test", test))
            if documents is not None
        }
        self.model = self._start = model if isinstance(model, HierBert) else None
        overrides = {
            f"data.{name}": documents if _is_path(documents) else IN_MEMORY
            for name, documents in self.given.items()
        }
        if self.model is not None:
            overrides |= self.model.settings or {}
        elif model is not None:
            overrides |= _start(os.fspath(model))
        self.config = _settings_of(config, overrides)
        self.callbacks = list(callbacks)
        self.results: dict[str, Any] | None = None
        self.report = ""

    def train(self, resume: bool = False, stop: StopSignals | None = None) -> dict[str, Any]:
        """Train, evaluate and save the model into `run_dir`, and push it where settings say so.

        Args:
            resume: Go on with the run in `run_dir`, with the same settings and documents.
            stop: Notes SIGINT and SIGTERM during the training steps and their evaluations, which
                then end with a checkpoint; None leaves signals alone.

        Returns:
            What `results.json` holds.

        Raises:
            HierBertError: A mistake in the settings, the documents or the run folder, in one line.
            KeyboardInterrupt: Training was stopped by a signal.
        """
        publish = self.config.publish
        if publish.repo is not None:
            check_push(publish)
        with contextlib.ExitStack() as stack:
            stack.enter_context(partners_needed())
            with partners_there():
                accelerator = _accelerator(self.config)
            stack.enter_context(run_lock(self.config, accelerator))
            started = time.monotonic()
            allow_large_pages()
            threads_are_used()
            corpora, tasks = load_corpora(self.config, self.given)
            run = prepare_run(self.config, accelerator, corpora, tasks, self._given_model(), resume)
            loop = TrainingLoop(run, stop or StopSignals(), self.callbacks)
            loop.run(resume)
            self.results, answers, rows, examples = score_run(run, loop, started)
            self.report = save_run(run, self.results, answers, rows, examples)
            loop.close()
        self.model = HierBert(run.model, run.processor)
        try:
            for callback in self.callbacks:
                callback.on_end(self.results)
        finally:
            if is_first_process() and publish.repo is not None:
                push_run(Path(self.config.run_dir) / "model", publish)
        return self.results

    def _given_model(self) -> tuple[HierBertForDocuments, HierBertProcessor] | None:
        start = self._start
        if start is None or start.settings is not None:
            return None
        if start.dtype != "float32":
            raise ConfigError(
                f"the model that was given computes in {start.dtype}; load it in float32"
            )
        return start.model, start.processor


def _accelerator(config: RunConfig) -> Accelerator:
    """What spreads a run over processes, after the checks that need none."""
    require_installed(config.training.trackers)
    precision = AcceleratorState._shared_state.get("_mixed_precision")
    if precision not in (None, config.training.mixed_precision):
        # An earlier run of this program had another one, which accelerate keeps.
        AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=config.training.mixed_precision,
        log_with=config.training.trackers or None,
        project_dir=config.run_dir,
        # Accumulation is the loop's own: without this, accelerate takes a number from the
        # environment and divides every loss by it.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=False),
            # The others wait while the first process labels sentences or scores the baselines.
            InitProcessGroupKwargs(timeout=_LONGEST_WAIT),
        ],
    )
    if config.training.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ConfigError("training.mixed_precision=fp16 needs a GPU; on a CPU choose no or bf16")
    return accelerator


def _settings_of(
    config: Mapping[str, Any] | str | os.PathLike[str] | RunConfig | None,
    overrides: Mapping[str, Any],
) -> RunConfig:
    """Settings made in Python, nested or by dotted names, checked as those of a file are."""
    path = None
    if isinstance(config, RunConfig):
        config = asdict(config)
    if config is not None and not isinstance(config, Mapping):
        path, config = Path(config), None
    values = {**dict(flat(config or {})), **overrides}
    return load_config(RunConfig, path, [f"{name}={_text(name, v)}" for name, v in values.items()])


def _text(name: str, value: Any) -> str:
    """A value as YAML; JSON is some."""
    try:
        return json.dumps(os.fspath(value) if isinstance(value, os.PathLike) else value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}={quote(value)} is not allowed: {type_name(value)}") from error


def _is_path(documents: Any) -> bool:
    """Whether settings can say where these documents are."""
    if isinstance(documents, list):
        return bool(documents) and all(map(_is_path, documents))
    return isinstance(documents, str | os.PathLike)


def _start(name: str) -> dict[str, Any]:
    """The setting that names a model to start from: a hierbert model, or an encoder."""
    folder = Path(name).expanduser()
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if folder.is_dir():
            values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        elif "/" in name:
            cached = cached_alone(name, "config.json")
            values, _ = HierBertConfig.get_config_dict(name, local_files_only=cached)
        else:
            values = {}
        if isinstance(values, dict) and values.get("model_type") == HierBertConfig.model_type:
            return {"model.start_from": name}
    return {"model.encoder": name}
