"""One training run from settings and documents to results; `train.py` is one of its users."""

import contextlib
import gc
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs, set_seed

from hierbert.config import RunConfig
from hierbert.data.sources import Corpus
from hierbert.errors import ConfigError, RunError, quote, type_name
from hierbert.files import cache_folder
from hierbert.log import format_seconds, log
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.prediction.predictor import HierBert
from hierbert.settings import load_config
from hierbert.tasks.evaluation import answer_documents, check_metric, score_answers
from hierbert.tasks.prepared import PreparedDocument, prepare_documents
from hierbert.tasks.task import Scored, Task
from hierbert.training.building import build_model
from hierbert.training.callbacks import Callback
from hierbert.training.corpora import load_corpora
from hierbert.training.loop import TrainingLoop
from hierbert.training.memory import (
    allow_large_pages,
    bound_memory,
    choose_tokens_per_forward,
)
from hierbert.training.nonfinite import not_finite
from hierbert.training.results import (
    Stopwatch,
    environment,
    resources,
    results_table,
    sample_answer,
    save_model,
    write_results,
)
from hierbert.training.resuming import run_identity
from hierbert.training.run_folder import open_run_folder, run_lock
from hierbert.training.signals import StopSignals
from hierbert.training.trackers import Trackers, require_installed
from hierbert.vectors.cache import CacheOptions, VectorCache, check_cache

_LONGEST_WAIT = timedelta(hours=12)
# What stands in the settings of a run for documents that were handed in.
IN_MEMORY = "documents in memory"


class HierBertTrainer:
    """Trains a model on labelled or summarized documents, and scores it.

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
        self.model = model if isinstance(model, HierBert) else None
        overrides = {
            f"data.{name}": documents if _is_path(documents) else IN_MEMORY
            for name, documents in self.given.items()
        }
        if self.model is not None:
            overrides |= self.model.settings or {}
        elif model is not None:
            overrides |= _start(os.fspath(model))
        self.config = settings_of(config, overrides)
        self.callbacks = list(callbacks)
        self.results: dict[str, Any] | None = None

    def train(self, resume: bool = False, stop: StopSignals | None = None) -> dict[str, Any]:
        """Train, evaluate and save the model into `run_dir`.

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
        accelerator = _accelerator(self.config)
        with run_lock(self.config, accelerator):
            self.results = self._train(accelerator, resume, stop or StopSignals())
        for callback in self.callbacks:
            callback.on_end(self.results)
        return self.results

    def _train(self, accelerator: Accelerator, resume: bool, stop: StopSignals) -> dict[str, Any]:
        config = self.config
        started = time.monotonic()
        allow_large_pages()
        corpora = load_corpora(config, self.given)
        tasks = corpora.tasks
        check_metric(config.training.metric, tasks, corpora.validation)
        set_seed(config.seed)
        model, processor = build_model(config, tasks, corpora.train, self._given_model())
        for task in tasks:
            task.check(corpora.splits, model.config)
        cache = cache_folder(config.training.cache_dir)
        kept = CacheOptions(cache, config.training.cache_dtype, config.training.cache_limit_gib)
        if config.training.freeze_encoder:
            check_cache(kept)
        folder = open_run_folder(config, accelerator, resume)
        model.to(accelerator.device)
        choose_tokens_per_forward(config, accelerator, model, folder)

        splits: dict[str, list[PreparedDocument]] = {}
        for name, examples in corpora.splits.items():
            # The first process fills the cache that the others then read.
            with accelerator.main_process_first():
                splits[name] = prepare_documents(
                    examples, processor, tasks, cache, f"segmenting {name}"
                )
        _report_lengths(splits, processor)

        vectors, encoded_tokens, encoding_time = None, 0, Stopwatch()
        if config.training.freeze_encoder:
            vectors = VectorCache(kept, model.hierbert)
            everything = [document for documents in splits.values() for document in documents]
            with encoding_time:
                encoded_tokens = vectors.fill(
                    [document.segmented for document in everything], accelerator
                )
            log.info(f"vectors: {vectors.report()}")

        for feature in model.features_of().values():
            feature.fit([document.segmented for document in splits["train"]])
        bound_memory(config, accelerator, model, splits["train"], folder)

        loop = TrainingLoop(
            config=config,
            accelerator=accelerator,
            model=model,
            train=splits["train"],
            validation=splits["validation"],
            tasks=tasks,
            vectors=vectors,
            folder=folder,
            trackers=Trackers(folder / "metrics.jsonl", accelerator),
            identity=run_identity(splits, tasks, model),
            stop=stop,
            callbacks=self.callbacks,
        )
        # New weights and dropout follow from the seed, whatever was drawn before.
        set_seed(config.seed + 1 + accelerator.process_index)
        with Stopwatch() as training_time, stop:
            state = loop.run(resume)

        calibration: dict[str, Any] = {}
        if config.training.calibrate:
            calibration = _calibrate(model, tasks, splits["validation"], accelerator, vectors)
        split = "test" if "test" in splits else "validation"
        with Stopwatch() as scoring_time:
            answers = answer_documents(
                model, splits[split], accelerator, tasks, vectors, f"scoring {split}"
            )
        scores = score_answers(answers, splits[split], tasks, model)
        problem = not_finite(f"scoring {split}", scores, answers, splits[split])
        if problem is not None:
            raise RunError(f"{problem} (training itself is done, see {folder / 'metrics.jsonl'})")
        results: dict[str, Any] = {
            "split": split,
            "documents": len(splits[split]),
            "seed": config.seed,
            "epochs": state.epoch,
            "steps": state.step,
            "best_step": state.best_step,
            "nonfinite_steps": state.nonfinite_steps,
            "scores": scores,
            # Of the weights that are in the model now.
            "validation": state.best_scores,
        }
        # Of a frozen encoder, training and scoring read vectors: tokens a second would mislead.
        work = {"encoding": (encoded_tokens, encoding_time.seconds)}
        if vectors is None:
            share = 1 / accelerator.num_processes
            trained, scored = loop.bar.done - loop.bar.initial, _tokens(splits[split])
            work["training"] = (round(share * trained), training_time.seconds)
            work["scoring"] = (round(share * scored), scoring_time.seconds)
        took = resources(accelerator, work, {"training": training_time.seconds})
        if accelerator.is_main_process:
            for task in tasks:
                told = Scored(
                    documents=splits[split],
                    kept=[answer.kept[task.name] for answer in answers],
                    train=splits["train"],
                    config=model.config,
                    seed=config.seed,
                    baselines=config.baselines,
                )
                results |= task.report(told)
            results |= calibration
            results["lengths"] = {name: _lengths(documents) for name, documents in splits.items()}
            results["resources"] = took
            results["seconds"] = round(time.monotonic() - started, 1)
            results["environment"] = environment()
            save_model(folder, model, processor, accelerator)
            write_results(folder / "results.json", results)
            print(f"\n{results_table(results, tasks)}\n")
            if config.show_sample and splits[split]:
                print(sample_answer(splits[split][0], answers[0], tasks, split, model.config))
            log.info(f"run folder: {folder} ({format_seconds(results['seconds'])})")
            print(f"\nGo on with:\n  {_inference_command(config, folder / 'model')}")
        accelerator.wait_for_everyone()
        _let_go(loop)
        accelerator.end_training()
        self.model = HierBert(model, processor)
        return results

    def _given_model(self) -> tuple[HierBertForDocuments, HierBertProcessor] | None:
        if self.model is None or self.model.settings is not None:
            return None
        if self.model.dtype != "float32":
            raise ConfigError(
                f"the model that was given computes in {self.model.dtype}; load it in float32"
            )
        return self.model.model, self.model.processor


def _accelerator(config: RunConfig) -> Accelerator:
    """What spreads a run over processes, after the checks that need none."""
    require_installed(config.training.trackers)
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


def _let_go(loop: TrainingLoop) -> None:
    """Drop the wrapper for several processes before their connection is taken down.

    Left to the end of this process, its C++ part closes the connection while it holds Python's
    lock. Now and then a thread of gloo waits for that lock just then, and the process never ends.
    """
    del loop.wrapped, loop.prepared
    loop.accelerator.free_memory()
    gc.collect()


def _calibrate(
    model: HierBertForDocuments,
    tasks: Sequence[Task],
    validation: list[PreparedDocument],
    accelerator: Accelerator,
    vectors: VectorCache | None,
) -> dict[str, Any]:
    """Fit answers to the validation documents, in the model's config; entries of the results."""
    answers = answer_documents(model, validation, accelerator, tasks, vectors, "calibrating")
    entries: dict[str, Any] = {}
    for task in tasks:
        fitted = task.calibrate(validation, [answer.kept[task.name] for answer in answers])
        if fitted:
            model.config.update(fitted["config"])
            entries |= fitted["results"]
            log.info(fitted["line"])
    return entries


def _inference_command(config: RunConfig, model: Path) -> str:
    """The command that answers with the model: of the test documents where they are one file."""
    is_script = Path(sys.argv[0]).name == "train.py"
    command = ["python infer.py" if is_script else "hierbert-infer", f"--model {_quoted(model)}"]
    test = config.data.test
    if isinstance(test, list) and len(test) == 1:
        test = test[0]
    if isinstance(test, str) and Path(test).is_file():
        command.append(f"--input {_quoted(test)}")
        for flag, value, default in (
            ("--text-column", config.data.text_column, "text"),
            ("--id-column", config.data.id_column, None),
            ("--encoding", config.data.encoding, "utf-8"),
        ):
            if value is not None and value != default:
                command.append(f"{flag} {_quoted(value)}")
    else:
        command.append("--input docs.jsonl")
    return " ".join([*command, "--output answers.jsonl"])


def _quoted(word: str | Path) -> str:
    """A word of a command that every shell takes as one."""
    return f'"{word}"' if " " in str(word) else str(word)


def _tokens(documents: list[PreparedDocument]) -> int:
    return sum(document.tokens for document in documents)


def _lengths(documents: list[PreparedDocument]) -> dict[str, int]:
    """Median, 90th percentile (the nearest document above), longest and sum of tokens."""
    sizes = sorted(document.tokens for document in documents)
    return {
        "documents": len(sizes),
        "median_tokens": sizes[len(sizes) // 2],
        "p90_tokens": sizes[math.ceil(0.9 * len(sizes)) - 1],
        "longest_tokens": sizes[-1],
        "tokens": _tokens(documents),
    }


def _report_lengths(
    splits: dict[str, list[PreparedDocument]], processor: HierBertProcessor
) -> None:
    """Say how long the documents are, and what was left out of them."""
    for name, documents in splits.items():
        numbers = _lengths(documents)
        log.info(
            f"{name}: {numbers['tokens']:,} tokens in segments of up to "
            f"{processor.max_tokens_per_segment}; a document has {numbers['median_tokens']:,} "
            f"(median), {numbers['p90_tokens']:,} (90 %), {numbers['longest_tokens']:,} (longest)"
        )
        omissions = [d.segmented.omission for d in documents if d.segmented.omission]
        if omissions:
            tokens = sum(omission.tokens for omission in omissions)
            kept = numbers["tokens"]
            log.info(
                f"{name}: segmentation.max_segments={processor.max_segments} left out "
                f"{tokens:,} tokens ({100 * tokens / (tokens + kept):.1f} %) of "
                f"{len(omissions):,} documents"
            )


def settings_of(
    config: Mapping[str, Any] | str | os.PathLike[str] | RunConfig | None,
    overrides: Mapping[str, Any],
) -> RunConfig:
    """Settings made in Python, checked as those of a file and a command line are.

    Args:
        config: A mapping of settings, nested or by dotted names, the path of a YAML file, all
            settings, or None for the defaults.
        overrides: Settings by dotted names that win.

    Raises:
        ConfigError: A setting is unknown, of the wrong type, or not allowed.
    """
    path = None
    if isinstance(config, RunConfig):
        config = asdict(config)
    if config is not None and not isinstance(config, Mapping):
        path, config = Path(config), None
    values = {**dict(_flat(config or {})), **overrides}
    return load_config(RunConfig, path, [f"{name}={_text(name, v)}" for name, v in values.items()])


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _text(name: str, value: Any) -> str:
    """A value as YAML; JSON is some."""
    try:
        return json.dumps(os.fspath(value) if isinstance(value, os.PathLike) else value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}={quote(value)} is not allowed: {type_name(value)}") from error


def _is_path(documents: Any) -> bool:
    """Whether settings can say where these documents are."""
    one = isinstance(documents, str | os.PathLike)
    return one or (
        isinstance(documents, list) and bool(documents) and all(map(_is_path, documents))
    )


def _start(name: str) -> dict[str, Any]:
    """The setting that names a model to start from: a hierbert model, or an encoder."""
    config = Path(name, "config.json")
    with contextlib.suppress(OSError, ValueError):
        if json.loads(config.read_text(encoding="utf-8")).get("model_type") == "hierbert":
            return {"model.start_from": name}
    return {"model.encoder": name}
