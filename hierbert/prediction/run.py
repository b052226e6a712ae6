"""One inference run from its options to its output: the table of contents of the batch job."""

import argparse
import contextlib
from collections.abc import Sequence
from typing import Any

from hierbert.data.columns import Columns
from hierbert.errors import ConfigError, flag_setting
from hierbert.loading.fingerprints import model_fingerprint
from hierbert.log import log
from hierbert.prediction.inputs import Inputs, check_inputs
from hierbert.prediction.job import Job, Question
from hierbert.prediction.job_folder import JobFolder
from hierbert.prediction.manifest import Manifest
from hierbert.prediction.options import (
    BUDGETS,
    PROBED,
    asked_tasks,
    cache_options,
    find_target,
    refuse_idle_flags,
    settings_of,
)
from hierbert.prediction.outputs import output_format
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.processes import Processes
from hierbert.prediction.sharing import own_share
from hierbert.prediction.stream import StandardOutput

WITH_ERRORS = 3
"""The exit code of a run that is whole but for rows in errors.jsonl."""

# Of standard output, no parts are kept.
_ENDLESS = 1 << 60


class Run:
    """What the command does, in the order of what it costs: checks, every row, the model, answers.

    Args:
        options: From `parse_options`.

    Raises:
        HierBertError: A mistake in the options, the input or the output, in one line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.skip = options.on_error == "skip"
        self.target = find_target(options)
        self.vector_cache = cache_options(options)
        columns = Columns(text=options.text_column, id=options.id_column)
        self.inputs = Inputs(
            options.input, columns, options.encoding, options.input_format, keep_broken=self.skip
        )
        self.processes = Processes.from_environment()
        if self.processes.count > 1 and (self.inputs.is_stream or self.target is None):
            raise ConfigError(
                "--input - and --output - are for one process; start it without torchrun, or name "
                "files that every process can read"
            )
        # Every process must see the input.
        self._paths = self.inputs.paths()

    def _check_target(self) -> None:
        if self.target is not None:
            self.target.check(
                resume=self.options.resume, overwrite=self.options.overwrite, inputs=self._paths
            )

    def execute(self) -> int:
        """Answer all documents.

        Returns:
            The exit code: 0, or `WITH_ERRORS`.

        Raises:
            HierBertError: A row cannot be read, the model cannot be used, the output cannot be
                written. What was done is kept.
        """
        with self.processes.connected(), contextlib.ExitStack() as stack:
            # By the first alone: when another comes to it, the first may have begun.
            self.processes.first(self._check_target)
            size = self.processes.first(self._check_rows) if self.options.check else None
            predictor, probed = self._load()
            tasks = predictor.check_tasks(asked_tasks(self.options.task, predictor.tasks))
            refuse_idle_flags(self.options, tasks)
            budget = {name: getattr(self.options, name) for name in BUDGETS}
            rule = predictor.summary_rule(budget, self.options.order, self.options.redundancy)
            question = Question(tasks, rule, self.options.segment_vectors)
            if self.target is None:
                return self._print(predictor, question, size)
            folder = JobFolder(self.target, self.processes.count, self.processes.index)
            manifest = self._manifest(predictor, tasks, probed)
            self.processes.first(lambda: self._begin(folder, manifest, stack))
            return self._write(predictor, question, size, folder)

    def _check_rows(self) -> int | None:
        return check_inputs(self.inputs)

    def _load(self) -> tuple[HierBertPredictor, dict[str, Any]]:
        """The model, and what was measured for it: once, so that all rows are of one kind."""
        automatic = [name for name in PROBED if getattr(self.options, name) == "auto"]
        given = {name: getattr(self.options, name) for name in PROBED}
        before: dict[str, Any] = {}
        if automatic and self.options.resume and self.target is not None and self.target.begun:
            before = Manifest.load(self.target.folder).probed
        given |= {name: before[name] for name in automatic if name in before}
        if not automatic:
            return self._predictor(given), {}
        predictor = None

        def measure() -> dict[str, Any]:
            nonlocal predictor
            predictor = self._predictor(given)
            return {name: getattr(predictor, name) for name in automatic}

        # The first process measures, alone, and the others do as it found.
        probed = self.processes.first(measure)
        for name, value in probed.items():
            log.info(f"{flag_setting(name)} auto: {value}")
        return predictor or self._predictor({**given, **probed}), probed

    def _predictor(self, probed: dict[str, Any]) -> HierBertPredictor:
        return HierBertPredictor.from_pretrained(
            self.options.model,
            device=self.processes.device(self.options.device),
            batch_tokens=self.options.batch_tokens,
            compile=self.options.compile,
            vector_cache=self.vector_cache,
            **probed,
        )

    def _manifest(
        self, predictor: HierBertPredictor, tasks: Sequence[str], probed: dict[str, Any]
    ) -> Manifest:
        assert self.target is not None
        return Manifest(
            settings=settings_of(self.options, tasks, self.target),
            model=model_fingerprint(predictor.model, predictor.processor, predictor.dtype),
            sources=self.inputs.describe(),
            probed=probed,
        )

    def _begin(self, folder: JobFolder, manifest: Manifest, stack: contextlib.ExitStack) -> None:
        stack.enter_context(folder.hold())
        # Another job may have ended since the first look.
        self._check_target()
        folder.begin(manifest, self.options.resume)

    def _write(
        self,
        predictor: HierBertPredictor,
        question: Question,
        size: int | None,
        folder: JobFolder,
    ) -> int:
        target = folder.target
        try:
            folder.open()
            rows = self.inputs.rows(target.rows_per_part)
            share = own_share(rows, folder.is_done, self.processes.count, self.processes.index)
            Job(predictor, question, share, folder, self.skip, self.processes.count).run(size)
        except BaseException:
            folder.abandon()
            raise
        self._say_vectors(predictor)
        try:
            self.processes.end()
            if self.processes.index:
                return 0
            done = folder.finish()
        except BaseException:
            folder.abandon()
            raise
        return self._report(
            done.total("answers"),
            done.total("errors"),
            done.total("shortened"),
            done.total("omitted_segments"),
            str(target.path),
            folder.before,
            f" (see {target.errors})",
        )

    def _print(self, predictor: HierBertPredictor, question: Question, size: int | None) -> int:
        options, to = self.options, "standard output"
        output = StandardOutput(output_format(options.output, options.output_format))
        share = own_share(self.inputs.rows(_ENDLESS), lambda row: False, 1, 0)
        Job(predictor, question, share, output, self.skip).run(size)
        self._say_vectors(predictor)
        counts = (output.answers, output.failures, output.shortened, output.omitted_segments)
        return self._report(*counts, to, 0, "")

    def _say_vectors(self, predictor: HierBertPredictor) -> None:
        if (vectors := predictor.vectors) is not None:
            log.info(f"vectors: {vectors.found:,} documents found, {vectors.encoded:,} encoded")
            log.info(f"vectors: {vectors.report()}")

    def _report(
        self,
        answers: int,
        errors: int,
        shortened: int,
        omitted_segments: int,
        to: str,
        before: int,
        see: str,
    ) -> int:
        if shortened:
            log.info(
                f"documents cut to the model's max_segments: {shortened:,} (segments left out: "
                f"{omitted_segments:,}; see `omission` in their rows)"
            )
        done_before = f" ({before:,} rows of them before)" if before else ""
        failed = f"; {errors:,} rows could not be answered{see}" if errors else ""
        log.info(f"{answers:,} documents{done_before} -> {to}{failed}")
        return WITH_ERRORS if errors else 0
