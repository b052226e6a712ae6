"""One training run from settings and documents to results; `train.py` is one of its users."""

import contextlib
import gc
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs, set_seed

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.data.sources import Corpus
from hierbert.errors import ConfigError, RunError, quote, type_name
from hierbert.files import cache_folder
from hierbert.log import format_seconds, is_first_process, log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.prediction.predictor import HierBert
from hierbert.settings import load_config
from hierbert.tasks.evaluation import Answer, answer_documents, check_metric, score_answers
from hierbert.tasks.prepared import PreparedDocument, prepare_documents
from hierbert.tasks.task import Scored, Task
from hierbert.training.building import build_model
from hierbert.training.callbacks import Callback
from hierbert.training.corpora import load_corpora
from hierbert.training.loop import TrainingLoop
from hierbert.training.memory import allow_large_pages, bound_memory, choose_tokens_per_forward
from hierbert.training.nonfinite import not_finite
from hierbert.training.processes import on_first_process
from hierbert.training.pushing import check_push, push_run
from hierbert.training.results import (
    environment,
    lengths_of,
    log_lengths,
    resources,
    sample_answer,
    save_model,
    write_results,
)
from hierbert.training.resuming import run_identity
from hierbert.training.run_folder import flat, open_run_folder, run_lock
from hierbert.training.signals import StopSignals
from hierbert.training.trackers import Trackers, require_installed
from hierbert.vectors.cache import CacheOptions, VectorCache, check_cache

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
        accelerator = _accelerator(self.config)
        with run_lock(self.config, accelerator):
            allow_large_pages()
            run = _Run(self.config, accelerator)
            run.prepare(*load_corpora(self.config, self.given), self._given_model(), resume)
            run.train(resume, stop or StopSignals(), self.callbacks)
            self.results = run.score()
            self.report = run.save(self.results)
            run.end()
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


class _Run:
    """One run, step by step, on every process."""

    def __init__(self, config: RunConfig, accelerator: Accelerator) -> None:
        self.config = config
        self.accelerator = accelerator
        self.started = time.monotonic()
        # Tokens and seconds of parts of the run, for its rates.
        self.work: dict[str, tuple[int, float]] = {"encoding": (0, 0.0)}

    def prepare(
        self,
        corpora: dict[str, list[Example]],
        tasks: Sequence[Task],
        given: tuple[HierBertForDocuments, HierBertProcessor] | None,
        resume: bool,
    ) -> None:
        """Check everything, then make model and documents ready, in the order of what it costs."""
        config, accelerator = self.config, self.accelerator
        self.tasks = tasks
        check_metric(config.training.metric, tasks, corpora["validation"])
        set_seed(config.seed)
        self.model, self.processor = build_model(config, tasks, corpora["train"], given)
        for task in tasks:
            task.check(corpora, self.model.config)
        cache = cache_folder(config.training.cache_dir)
        kept = CacheOptions(cache, config.training.cache_dtype, config.training.cache_limit_gib)
        if config.training.freeze_encoder:
            check_cache(kept)
        self.folder = open_run_folder(config, accelerator, resume)
        self.model.to(accelerator.device)
        choose_tokens_per_forward(config, accelerator, self.model, self.folder)
        self.splits: dict[str, list[PreparedDocument]] = {}
        for name, examples in corpora.items():
            # The first process fills the cache that the others then read.
            with accelerator.main_process_first():
                self.splits[name] = prepare_documents(
                    examples, self.processor, self.tasks, cache, f"segmenting {name}"
                )
        log_lengths(self.splits, self.processor)
        self.vectors = None
        if config.training.freeze_encoder:
            self.vectors = VectorCache(kept, self.model.hierbert)
            everything = [one.segmented for documents in self.splits.values() for one in documents]
            began = time.monotonic()
            tokens = self.vectors.fill(everything, accelerator)
            self.work["encoding"] = (tokens, time.monotonic() - began)
            log.info(f"vectors: {self.vectors.report()}")
        train = self.splits["train"]
        targets = {task.name: [one.targets[task.name] for one in train] for task in self.tasks}
        for feature in self.model.features_of().values():
            if feature.fitted:
                continue
            feature.fit([document.segmented for document in train], targets)
        bound_memory(config, accelerator, self.model, self.splits["train"], self.folder)

    def train(self, resume: bool, stop: StopSignals, callbacks: Sequence[Callback]) -> None:
        """Train, and leave the best weights in the model."""
        accelerator = self.accelerator
        self.loop = TrainingLoop(
            config=self.config,
            accelerator=accelerator,
            model=self.model,
            train=self.splits["train"],
            validation=self.splits["validation"],
            tasks=self.tasks,
            vectors=self.vectors,
            folder=self.folder,
            trackers=Trackers(self.folder / "metrics.jsonl", accelerator),
            identity=run_identity(self.splits, self.tasks, self.model),
            stop=stop,
            callbacks=callbacks,
        )
        # New weights and dropout follow from the seed, whatever was drawn before.
        set_seed(self.config.seed + 1 + accelerator.process_index)
        began = time.monotonic()
        with stop:
            self.state = self.loop.run(resume)
        self.training_seconds = time.monotonic() - began

    def score(self) -> dict[str, Any]:
        """Calibrate on the validation documents and score the test documents: the results."""
        calibration = self._calibrate() if self.config.training.calibrate else {}
        split = "test" if "test" in self.splits else "validation"
        documents = self.splits[split]
        began = time.monotonic()
        self.answers = self._answers(split, f"scoring {split}")
        seconds = time.monotonic() - began
        scores = score_answers(self.answers, documents, self.tasks, self.model)
        problem = not_finite(f"scoring {split}", scores, self.answers, documents)
        if problem is not None:
            where = self.folder / "metrics.jsonl"
            raise RunError(f"{problem} (training itself is done, see {where})")
        # Of a frozen encoder, training and scoring read vectors: tokens a second would mislead.
        if self.vectors is None:
            share, bar = 1 / self.accelerator.num_processes, self.loop.bar
            trained, read = bar.done - bar.initial, sum(document.tokens for document in documents)
            self.work["training"] = round(share * trained), self.training_seconds
            self.work["scoring"] = round(share * read), seconds
        state = self.state
        results: dict[str, Any] = {
            "split": split,
            "documents": len(documents),
            "seed": self.config.seed,
            "epochs": state.epoch,
            "steps": state.step,
            "best_step": state.best_step,
            "nonfinite_steps": state.nonfinite_steps,
            "scores": scores,
            # Of the weights that are in the model now.
            "validation": state.best_scores,
        }
        took = resources(self.accelerator, self.work, self.training_seconds)

        def complete() -> dict[str, Any]:
            entries: dict[str, Any] = {}
            for task in self.tasks:
                scored = Scored(
                    documents=documents,
                    kept=[answer.kept[task.name] for answer in self.answers],
                    train=self.splits["train"],
                    config=self.model.config,
                    seed=self.config.seed,
                    baselines=self.config.baselines,
                )
                entries |= task.report(scored)
            return entries | {
                **calibration,
                "lengths": {name: lengths_of(own) for name, own in self.splits.items()},
                "resources": took,
                "seconds": round(time.monotonic() - self.started, 1),
                "environment": environment(),
            }

        return results | on_first_process(self.accelerator, complete)

    def _answers(self, split: str, description: str) -> list[Answer]:
        return answer_documents(
            *(self.model, self.splits[split], self.accelerator, self.tasks, self.vectors),
            description,
        )

    def _calibrate(self) -> dict[str, Any]:
        """Fit answers to the validation documents, in the model's config."""
        validation, answers = self.splits["validation"], self._answers("validation", "calibrating")
        entries: dict[str, Any] = {}
        for task in self.tasks:
            fitted = task.calibrate(validation, [answer.kept[task.name] for answer in answers])
            if fitted:
                self.model.config.update(fitted["config"])
                entries |= fitted["results"]
                log.info(fitted["line"])
        return entries

    def save(self, results: dict[str, Any]) -> str:
        """Write the model and the results; what there is to read of them."""
        report = ""
        if self.accelerator.is_main_process:
            save_model(self.folder / "model", self.model, self.processor)
            write_results(self.folder / "results.json", results)
            tables = [table for task in reversed(self.tasks) for table in task.tables(results)]
            report = "\n{}\n".format("\n\n".join(tables))
            split = results["split"]
            if self.config.show_sample:
                first = self.splits[split][0], self.answers[0]
                report += "\n" + sample_answer(*first, self.tasks, split, self.model.config)
            log.info(f"run folder: {self.folder} ({format_seconds(results['seconds'])})")
        self.accelerator.wait_for_everyone()
        return report

    def end(self) -> None:
        """Drop the wrapper for several processes before their connection is taken down.

        Left to the end of this process, its C++ part closes the connection while it holds Python's
        lock. Now and then a thread of gloo waits for that lock just then, and the process never
        ends.
        """
        del self.loop.wrapped, self.loop.prepared
        # Mixed precision put a forward of its own on the model itself.
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.accelerator.free_memory()
        gc.collect()
        processes = self.accelerator.num_processes
        self.accelerator.end_training()
        if processes > 1 and not torch.distributed.is_initialized():
            # So that the next run of this program connects its processes anew.
            AcceleratorState._reset_state(reset_partial_state=True)


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
    with contextlib.suppress(OSError, ValueError):
        if folder.is_dir():
            values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        elif "/" in name:
            values, _ = HierBertConfig.get_config_dict(name)
        else:
            values = {}
        if values.get("model_type") == HierBertConfig.model_type:
            return {"model.start_from": name}
    return {"model.encoder": name}
