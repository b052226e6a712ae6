"""One inference run from its options to its output: the table of contents of the batch job."""

import argparse
import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

from hierbert.errors import ConfigError, RunError, flag_setting
from hierbert.loading.fingerprints import model_fingerprint
from hierbert.log import Progress, log
from hierbert.prediction.answer_files import StandardOutput, output_format
from hierbert.prediction.job import Item, Job, Question
from hierbert.prediction.options import (
    PROBED,
    asked_tasks,
    cache_options,
    check_for_model,
    columns_of,
    find_target,
    settings_of,
    settings_of_heads,
)
from hierbert.prediction.output_folder import Manifest, OutputFolder, State
from hierbert.prediction.parts import Merger, UnitWriter, done_units
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.processes import Processes
from hierbert.prediction.units import (
    Cuts,
    InputRow,
    Inputs,
    Passed,
    SourceCheck,
    UnitEnd,
    UnitName,
    all_units,
    check_inputs,
    own_units,
    unit_limit,
)

WITH_ERRORS = 3
"""The exit code of a run that is whole but for rows in errors.jsonl."""


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
        self.processes = Processes.from_environment()
        # Every process must see the input.
        self.inputs = Inputs.find(
            options.input,
            columns_of(options),
            options.encoding,
            options.input_format,
            keep_broken=self.skip,
        )
        if self.processes.count > 1 and (self.inputs.is_stream or self.target is None):
            raise ConfigError(
                "--input - and --output - are for one process; start it without torchrun, or name "
                "files that every process can read"
            )
        self.ray = None
        if options.engine == "ray":
            from hierbert.prediction.ray_engine import RayEngine

            self.ray = RayEngine(options, self.inputs)

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
            complete = self.processes.first(self._check_target) == "complete"
            if complete and self.options.rows_per_shard is None:
                log.info(
                    f"--resume: {self.options.output} is complete, by whatever model and input: a "
                    "file keeps no record of them; there is nothing more to do"
                )
                return 0
            if self.ray is not None and not complete:
                stack.enter_context(self.ray.session())
            checks = self._check_rows() if self.options.check and not complete else None
            predictor, probed = self._load()
            tasks = asked_tasks(self.options, predictor)
            check_for_model(self.options, tasks, predictor.processor.fields)
            question = Question(
                tasks, settings_of_heads(self.options), self.options.segment_vectors
            )
            question.predict(predictor, ())  # refuses what is not allowed, before it is begun
            if self.target is None:
                return self._print(predictor, question, checks)
            manifest = Manifest(
                settings=settings_of(self.options, tasks, self.target),
                model=model_fingerprint(predictor.model, predictor.processor, predictor.dtype),
                sources=self.inputs.describe(),
                unit_size=self._unit_limit(predictor, checks),
                probed=probed,
            )
            if complete:
                self.processes.first(lambda: self._check_complete(manifest))
                return 0
            job = JobOnDisk(
                self,
                self.target,
                self.processes.first(lambda: self._begin(manifest, stack)),
                checks,
            )
            try:
                if self.ray is not None:
                    self.ray.answer(predictor, question, job)
                else:
                    self._answer(predictor, question, job)
                self.processes.end()
                if self.processes.index:
                    return 0
                done = job.merger.finish()
            except BaseException as error:
                job.abandon(error)
                raise
        return self._report(
            *(done.total(n) for n in ("answers", "errors", "shortened", "omitted_segments")),
            to=self.options.output,
            before=job.rows_before,
            see=f" (see {self.target.errors})",
        )

    def _unit_limit(self, predictor: HierBertPredictor, checks: list[SourceCheck] | None) -> int:
        if self.ray is not None:
            cluster = self.ray.cluster
            return unit_limit(checks, cluster.actors, on_cpu=not cluster.gpus_per_actor)
        return unit_limit(checks, self.processes.count, predictor.model.device.type == "cpu")

    def _check_target(self) -> State:
        if self.target is None:
            return "new"
        return self.target.check(self.options.resume, self.options.overwrite, self.inputs.paths)

    def _check_complete(self, manifest: Manifest) -> None:
        """Refuse to take a complete job of shards for one of another model, settings or input."""
        assert self.target is not None
        before = Manifest.load(self.target.folder)
        before.refuse_other(manifest)
        sizes = [[source.get("bytes") for source in one.sources] for one in (before, manifest)]
        if sizes[0] != sizes[1]:
            raise RunError(
                f"--resume: {self.target.folder} is complete, of other input: its files have "
                "other sizes; --overwrite starts anew"
            )
        for part in before.parts:
            path = self.target.folder / (part.file or "")
            if part.file is not None and not (path.is_file() and path.stat().st_size == part.bytes):
                raise RunError(
                    f"--resume: {path} is gone or is not what the complete job wrote; --overwrite "
                    "starts anew"
                )
        log.info(f"--resume: {self.options.output} is complete; there is nothing more to do")

    def _check_rows(self) -> list[SourceCheck] | None:
        if self.ray is not None:
            return self.ray.check()
        checks = self.processes.first(lambda: check_inputs(self.inputs))
        return checks and [SourceCheck(*check) for check in checks]

    def _load(self) -> tuple[HierBertPredictor, dict[str, Any]]:
        """The model, and what was found out for it: once, so that all rows are of one kind."""
        automatic = [name for name in PROBED if getattr(self.options, name) == "auto"]
        automatic = [] if self.ray is not None else automatic
        given = {name: getattr(self.options, name) for name in PROBED}
        before: dict[str, Any] = {}
        if self.options.resume and self.target is not None and self.target.begun:
            before = Manifest.load(self.target.folder).probed
        given |= {name: before[name] for name in automatic if name in before}
        # Of a Hub id, the job goes on with the commit it has begun with.
        is_folder = os.path.isdir(os.path.expanduser(self.options.model))
        if "revision" in before and not is_folder:
            given["revision"] = before["revision"]
        predictor = None

        def measure() -> dict[str, Any]:
            nonlocal predictor
            predictor = self._predictor(given)
            found = {name: getattr(predictor, name) for name in automatic}
            return found if predictor.commit is None else {**found, "revision": predictor.commit}

        if not automatic and is_folder:
            return self._predictor(given), {}
        # The first process measures, alone, and the others do as it found.
        probed = self.processes.first(measure)
        for name in automatic:
            log.info(f"{flag_setting(name)} auto: {probed[name]}")
        return predictor or self._predictor({**given, **probed}), probed

    def _predictor(self, given: dict[str, Any]) -> HierBertPredictor:
        if self.ray is not None:
            # What is wrong with the model is told before anything starts; where it will run, and
            # how fast, is for the machines of the actors.
            here: dict[str, Any] = {"device": "cpu", "compile": False}
            given = {**given, "tokens_per_forward": None}
        else:
            here = {
                "device": self.processes.device(self.options.device),
                "batch_tokens": self.options.batch_tokens,
                "compile": self.options.compile,
                "vector_cache": self.vector_cache,
            }
        return HierBertPredictor.from_pretrained(self.options.model, **here, **given)

    def _begin(self, manifest: Manifest, stack: contextlib.ExitStack) -> list[Any]:
        """Make ready for all processes.

        Returns:
            Of each unit that is done its name, digest, rows and size.
        """
        target = self.target
        assert target is not None
        stack.enter_context(target.hold())
        # Another job may have ended since the first look.
        state = self._check_target()
        session = secrets.token_hex(4)
        with target.writing():
            if state == "new":
                manifest.sessions = [session]
                target.start(manifest)
                return []
            if state == "complete":
                raise RunError(f"--resume: {target.path} was completed by another job meanwhile")
            Manifest.load(target.folder).refuse_other(manifest)
            before = target.go_on(session)
            done = done_units(target.units_folder(before))
        rows = sum(footer.rows for footer in done.values())
        log.info(f"resuming after {rows:,} rows")
        return [[*name, f.input, f.rows, f.size] for name, f in done.items()]

    def _answer(self, predictor: HierBertPredictor, question: Question, job: "JobOnDisk") -> None:
        """Answer what is this process's."""
        writer = UnitWriter(job.units, job.target.writing, job.unit_ended)
        names = [source.name for source in self.inputs.sources]
        items = own_units(
            job.items(), job.done, self.processes.count, self.processes.index, names=names
        )
        try:
            self._show(predictor, question, writer, items, job.checks)
        finally:
            writer.abandon()

    def _print(
        self,
        predictor: HierBertPredictor,
        question: Question,
        checks: list[SourceCheck] | None,
    ) -> int:
        output = StandardOutput(output_format(self.options.output, self.options.output_format))
        cuts = Cuts(self._unit_limit(predictor, checks))
        items = own_units(all_units(self.inputs, cuts, checks), {})
        self._show(predictor, question, output, items, checks)
        counts = (output.answers, output.failures, output.shortened, output.omitted_segments)
        return self._report(*counts, to="standard output", before=0, see="")

    def _show(
        self,
        predictor: HierBertPredictor,
        question: Question,
        sink: UnitWriter | StandardOutput,
        items: Iterator[Item],
        checks: list[SourceCheck] | None,
    ) -> None:
        """Answer rows, and show how far it is."""
        size = None if checks is None else sum(check.size for check in checks)
        rows = 0
        with Progress(size, "predicting", unit="bytes") as bar:

            def passed(item: Item) -> None:
                nonlocal rows
                if not isinstance(item, InputRow | Passed):
                    return
                rows += item.rows if isinstance(item, Passed) else 1
                # Units are shared by size: where this process is, the others are too.
                rate = bar.per_second(predictor.tokens_read * self.processes.count)
                bar.note(documents=f"{rows:,}", **{"tokens/s": f"{rate:,.0f}"})
                if isinstance(item, Passed) and item.done_before:
                    bar.skip(item.size)
                else:
                    bar.advance(item.size)

            Job(predictor, question, sink, self.skip, passed).run(items)
        if (vectors := predictor.vectors) is not None:
            log.info(f"vectors: {vectors.found:,} documents found, {vectors.encoded:,} encoded")
            log.info(f"vectors: {vectors.report()}")

    def _report(
        self,
        answers: int,
        errors: int,
        shortened: int,
        omitted_segments: int,
        *,
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


class JobOnDisk:
    """What a process knows of the job that was begun or resumed.

    Args:
        run: The run.
        target: The output.
        begun: What `Run._begin` gave.
        checks: What each source holds; None where that is not known.
    """

    def __init__(
        self,
        run: Run,
        target: OutputFolder,
        begun: list[Any],
        checks: list[SourceCheck] | None,
    ) -> None:
        self.run, self.target, self.checks = run, target, checks
        self.manifest = Manifest.load(target.folder)
        self.units = target.units_folder(self.manifest)
        self.cuts = Cuts(self.manifest.unit_size, target.rows_per_shard)
        self.done = {UnitName(source, n): digest for source, n, digest, _, _ in begun}
        self.rows_before = self.rows = sum(rows for *_, rows, _ in begun)
        self.size_before = sum(size for *_, size in begun)
        self.merger = Merger(target, self.manifest, len(run.inputs.sources))

    def items(self) -> Iterator[UnitName | InputRow | UnitEnd]:
        """All units of the input; who reads them knows what they are."""
        for item in all_units(self.run.inputs, self.cuts, self.checks):
            if isinstance(item, UnitEnd):
                self.merger.digests[item.name] = item.digest
            yield item

    def unit_ended(self, end: UnitEnd) -> None:
        """A unit is done: make the shards that are whole now."""
        self.rows += end.rows
        if self.run.processes.index == 0:
            self.merger.advance()

    def abandon(self, error: BaseException) -> None:
        """Stop in the middle: keep what was done and say so, or leave nothing behind."""
        alone = self.run.processes.count == 1
        if self.rows or not alone or done_units(self.units):
            rows = f" of {self.rows:,} rows" if alone else ""
            log.info(
                f"{self.target.folder} holds the answers{rows}; the same command with --resume "
                "goes on after them"
            )
            return
        with contextlib.suppress(OSError):
            self.target.clear()
        if not isinstance(error, Exception):
            log.info("nothing is kept yet; the same command begins anew, also with --resume")
