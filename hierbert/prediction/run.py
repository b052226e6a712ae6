"""One inference run from its options to its output: the table of contents of the batch job."""

import argparse
import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from typing import Any

from hierbert.errors import ConfigError, RunError, flag_setting, quote_all
from hierbert.loading.fingerprints import model_fingerprint
from hierbert.log import Progress, log
from hierbert.prediction.answer_files import StandardOutput, output_format
from hierbert.prediction.answerer import Answerer
from hierbert.prediction.job import Footer, Job, whole_units, write_units
from hierbert.prediction.options import (
    PROBED,
    asked_tasks,
    cache_options,
    check_for_model,
    check_task,
    columns_of,
    find_target,
    pages_of,
    rewriter_of,
    settings_of,
    settings_of_heads,
)
from hierbert.prediction.output_folder import COUNTS, Manifest, State
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.processes import Processes
from hierbert.prediction.redoing import JobAgain, begin_again, changed_shards
from hierbert.prediction.stopping import stop_if_asked
from hierbert.prediction.units import (
    InputRow,
    Inputs,
    Result,
    SourceCheck,
    Unit,
    UnitName,
    all_units,
    check_inputs,
    refused_files,
    share_units,
    unit_limit,
)

WITH_ERRORS = 3
"""The exit code of a run that is whole but for rows in errors.jsonl."""

Passed = Callable[..., None]
"""Takes rows that are behind: how many, their bytes, and whether they were done before."""


class Run:
    """What the command does, in the order of what it costs: checks, every row, the model, answers.

    In one process, or as one of several. Another engine has its own `session`, `check_rows`,
    `model_options`, `unit_size` and `answer`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        check_task(options)
        self.skip = options.on_error == "skip"
        self.target = find_target(options)
        self.pages = pages_of(options)
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

    def execute(self) -> int:
        """The exit code of the run, 0 or `WITH_ERRORS`. What was done before a mistake is kept."""
        with self.processes.connected(), contextlib.ExitStack() as stack:
            # By the first alone: when another comes to it, the first may have begun.
            complete = self.processes.first(self._check_target) == "complete"
            again: list[int] = []
            if complete and self.options.rows_per_shard is None:
                log.info(
                    f"--resume: {self.options.output} is complete, by whatever model and input: a "
                    "file keeps no record of them; there is nothing more to do"
                )
                return 0
            if complete:
                again = self.processes.first(self._changed_shards)
            done = complete and not again
            if not done:
                stack.enter_context(self.session())
            checks = self.check_rows() if self.options.check and not done else None
            predictor, probed = self._load()
            tasks = asked_tasks(self.options, predictor)
            if self.options.html is not None and self.options.evidence is None:
                # What has none refuses to be asked for it.
                self.options.evidence = predictor.has_evidence(tasks) or None
            check_for_model(self.options, tasks, predictor.processor)
            rewriter = rewriter_of(self.options)
            if rewriter is not None:
                # All processes take the same commit.
                revision = self.processes.first(rewriter.find_revision)
                rewriter = replace(rewriter, revision=revision)
            question = {
                "tasks": tasks,
                "rule": settings_of_heads(self.options),
                "segment_vectors": self.options.segment_vectors,
                "rewrite": rewriter,
            }
            # Refuses what is not allowed, before it is begun.
            answerer = Answerer(predictor, question, self.skip)
            if self.target is None:
                return self._print(answerer, predictor, checks)
            manifest = Manifest(
                settings=settings_of(self.options, tasks, self.target, rewriter),
                model=model_fingerprint(predictor.model, predictor.processor),
                sources=self.describe_input(checks),
                unit_size=self.unit_size(predictor, checks),
                probed=probed,
            )
            if complete:
                self.processes.first(lambda: self._check_complete(manifest))
            if done:
                self.processes.first(self._end_complete)
                return 0
            begun = self.processes.first(lambda: self._begin(manifest, stack, again))
            units = {UnitName(*name): Footer(**footer) for name, footer in begun}
            manifest = Manifest.load(self.target.folder)
            kind = partial(JobAgain, shards=again) if again else Job
            job = kind(self.target, manifest, len(self.inputs.sources), units)
            try:
                self.answer(answerer, predictor, job, checks)
                self.processes.end()
                if self.processes.index:
                    return 0
                made = job.finish()
            except BaseException as error:
                interrupted = not isinstance(error, Exception)
                job.abandon(alone=self.processes.count == 1, interrupted=interrupted)
                raise
        counts = {name: made.total(name) for name in COUNTS}
        before = f" ({job.rows_before:,} rows of them before)" if job.rows_before else ""
        see = f" (see {job.target.errors})"
        if refused := refused_files(checks or ()):
            see = f", among them {refused}{see}"
        return _report(counts, f"{before} -> {self.options.output}", see)

    def _check_target(self) -> State:
        state: State = "new"
        if self.target is not None:
            paths = self.inputs.paths
            state = self.target.check(self.options.resume, self.options.overwrite, paths)
        if self.pages is not None and state != "complete":
            self.pages.check(state == "begun", self.options.overwrite)
        return state

    def _check_complete(self, manifest: Manifest) -> None:
        """Refuse to take a complete job of shards for one of another model, settings or input."""
        assert self.target is not None
        folder = self.target.folder
        before = Manifest.load(folder)
        before.refuse_other(manifest)
        sizes = [[source.get("bytes") for source in one.sources] for one in (before, manifest)]
        if sizes[0] != sizes[1]:
            raise RunError(
                f"--resume: {folder} is complete, of other input: its files have other sizes; "
                "--overwrite starts anew"
            )
        before.refuse_lost_input(manifest)

    def _end_complete(self) -> None:
        """Of a job that was killed when all of it was there, nothing else stays."""
        assert self.target is not None
        if self.target.unfinished.is_dir():
            with self.target.hold(), self.target.writing():
                shutil.rmtree(self.target.unfinished)
        log.info(f"--resume: {self.options.output} is complete; there is nothing more to do")

    def _changed_shards(self) -> list[int]:
        """The shards of a complete job that are done again; says so."""
        assert self.target is not None
        with self.target.writing():
            manifest = Manifest.load(self.target.folder)
            shards, names = changed_shards(self.target, manifest)
        if shards:
            log.info(
                f"--resume: {self.target.folder} is complete, but not what the job wrote any more: "
                f"{quote_all(names)}; {len(shards):,} of {len(manifest.parts):,} parts are done "
                "again, the others stay"
            )
        return shards

    def session(self) -> contextlib.AbstractContextManager[None]:
        """What must be there while the job is under way."""
        return contextlib.nullcontext()

    def check_rows(self) -> list[SourceCheck] | None:
        """What each source holds; None where reading it once is all that can be done."""
        if self.inputs.is_stream:
            return None
        checks = self.processes.first(lambda: [asdict(one) for one in check_inputs(self.inputs)])
        return [SourceCheck(**check) for check in checks]

    def describe_input(self, checks: list[SourceCheck] | None) -> list[dict[str, Any]]:
        """What the manifest says of the input."""
        return self.inputs.describe(checks)

    def model_options(self) -> dict[str, Any]:
        """How this process loads the model, beside what is measured."""
        return {
            "device": self.processes.device(self.options.device),
            "batch_tokens": self.options.batch_tokens,
            "compile": self.options.compile,
            "vector_cache": self.vector_cache,
        }

    def unit_size(self, predictor: HierBertPredictor, checks: list[SourceCheck] | None) -> int:
        """Where units end, so that whatever answers them has work."""
        return unit_limit(checks, self.processes.count, predictor.model.device.type == "cpu")

    def answer(
        self,
        answerer: Answerer,
        predictor: HierBertPredictor,
        job: Job,
        checks: list[SourceCheck] | None,
    ) -> None:
        """Answer what is this process's of the units that are not done."""
        processes = self.processes
        every = all_units(self.inputs, job.cuts, checks)
        names = self.inputs.names
        units = share_units(
            every, job.done, names, processes.count, processes.index, job.cuts.shards
        )
        with self._shown(predictor, checks) as passed:

            def own() -> Iterator[Unit]:
                for unit, whose in units:
                    job.read(unit)
                    if whose == "own":
                        yield unit
                    else:
                        passed(len(unit.rows), unit.size, done_before=whose == "done")

            def answer(rows: Iterable[InputRow]) -> Iterator[Result]:
                for result in answerer.results(rows):
                    yield result
                    passed(1, result.row.size)

            for unit in write_units(job.target, job.units, own(), answer):
                job.rows += len(unit.rows)
                if processes.index == 0:
                    job.publish_shards()

    def _load(self) -> tuple[HierBertPredictor, dict[str, Any]]:
        """The model, and what was found out for it: once, so that all rows are of one kind."""
        load = partial(HierBertPredictor.from_pretrained, self.options.model)
        given = {name: getattr(self.options, name) for name in PROBED} | self.model_options()
        automatic = [name for name in PROBED if given[name] == "auto"]
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
            predictor = load(**given)
            found = {name: getattr(predictor, name) for name in automatic}
            return found if predictor.commit is None else {**found, "revision": predictor.commit}

        if not automatic and is_folder:
            return load(**given), {}
        # The first process measures, alone, and the others do as it found.
        probed = self.processes.first(measure)
        for name in automatic:
            log.info(f"{flag_setting(name)} auto: {probed[name]}")
        return predictor or load(**{**given, **probed}), probed

    def _begin(
        self, manifest: Manifest, stack: contextlib.ExitStack, again: list[int]
    ) -> list[Any]:
        """Make ready for all processes; name and footer of each unit that is done."""
        target = self.target
        assert target is not None
        stack.enter_context(target.hold())
        # Another job may have ended since the first look.
        state = self._check_target()
        if (state == "complete") != bool(again):
            raise RunError(f"--resume: {target.path} was changed by another job meanwhile")
        session = secrets.token_hex(4)
        if self.pages is not None:
            self.pages.start(keep=state != "new")
        with target.writing():
            if state == "new":
                manifest.sessions = [session]
                target.start(manifest)
                return []
            before = Manifest.load(target.folder)
            before.refuse_other(manifest)
            before.refuse_lost_input(manifest)
            if again:
                done = begin_again(target, before, again)
            else:
                done = whole_units(target.units_folder(target.go_on(session)))
        rows = sum(footer.rows for footer in done.values())
        log.info(f"resuming after {rows:,} rows{' of these parts' if again else ''}")
        return [[name, asdict(footer)] for name, footer in done.items()]

    def _print(
        self,
        answerer: Answerer,
        predictor: HierBertPredictor,
        checks: list[SourceCheck] | None,
    ) -> int:
        """Answer to standard output."""
        kind = output_format(self.options.output, self.options.output_format)
        made = StandardOutput(kind, self.options.csv_safe)
        rows = chain.from_iterable(self.inputs.by_source(checks))
        pages = self.pages
        answered: list[tuple[str, str]] = []
        if pages is not None:
            pages.start(keep=False)
        count = 0
        with self._shown(predictor, checks) as passed:
            for count, result in enumerate(answerer.results(rows), 1):
                if pages is not None and result.answer is not None and count <= pages.limit:
                    row = result.row
                    pages.write(count - 1, row.fingerprint, result.text or "", result.answer)
                    answered.append((result.answer["id"], row.fingerprint))
                made.write(result)
                passed(1, result.row.size)
        if pages is not None:
            pages.finish(answered, count)
        return _report({name: getattr(made, name) for name in COUNTS}, " -> standard output", "")

    @contextlib.contextmanager
    def _shown(
        self, predictor: HierBertPredictor, checks: list[SourceCheck] | None
    ) -> Iterator[Passed]:
        """Show how far rows are answered."""
        size = None if checks is None else sum(check.size for check in checks)
        count = 0
        with Progress(size, "predicting", unit="bytes") as bar:

            def passed(rows: int, size: int, done_before: bool = False) -> None:
                nonlocal count
                stop_if_asked()
                count += rows
                # Units are shared by size: where this process is, the others are too.
                rate = bar.per_second(predictor.tokens_read * self.processes.count)
                bar.note(documents=f"{count:,}", **{"tokens/s": f"{rate:,.0f}"})
                if done_before:
                    bar.skip(size)
                else:
                    bar.advance(size)

            yield passed
        if (vectors := predictor.vectors) is not None:
            log.info(f"vectors: {vectors.found:,} documents found, {vectors.encoded:,} encoded")
            log.info(f"vectors: {vectors.report()}")


def _report(counts: dict[str, int], to: str, see: str) -> int:
    """Say what was done; the exit code."""
    if counts["shortened"]:
        log.info(
            f"documents cut to the model's max_segments: {counts['shortened']:,} (segments left "
            f"out: {counts['omitted_segments']:,}; see `omission` in their rows)"
        )
    if counts["over_limit"]:
        log.info(
            f"summaries longer than their limit, for every word of the document is: "
            f"{counts['over_limit']:,} (see `over_limit` in their rows)"
        )
    errors = counts["errors"]
    failed = f"; {errors:,} rows could not be answered{see}" if errors else ""
    log.info(f"{counts['answers']:,} documents{to}{failed}")
    return WITH_ERRORS if errors else 0
