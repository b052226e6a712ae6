"""Reads the documents of a run once, and looks at them as a run would and a bit closer."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from hierbert.checking.check import Check, known_checks
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding
from hierbert.config import RunConfig
from hierbert.data.corpus import CorpusReader, find_corpora
from hierbert.data.document import BrokenRow, Example
from hierbert.errors import DataError, HierBertError, config_setting
from hierbert.log import Progress, log
from hierbert.tasks.corpora import columns_of, hold_out, refuse_no_texts
from hierbert.tasks.evaluation import check_metric
from hierbert.tasks.task import learn_tasks

_WOULD_FAIL = "mend it: a run refuses it"
# Some seconds, in which there is no progress.
_LONG = 5_000_000


def look_at(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
    given: Mapping[str, Any] | None = None,
    checks: Sequence[type[Check]] | None = None,
) -> tuple[CheckedCorpus, list[Check], list[Finding]]:
    """Read all documents of a run, learn its tasks, and let checks look.

    Args:
        config: Of the run.
        tokenizer: Of the encoder; without one nothing is said of tokens.
        given: Splits in place of those that the settings name.
        checks: What to look for; None for all that is known.

    Returns:
        What is kept of the documents, the checks, and what was found.

    Raises:
        HierBertError: A setting is wrong, or names what is not there.
    """
    specs = {role: getattr(config.data, role) for role in ("train", "validation", "test")}
    specs |= given or {}
    specs = {role: spec for role, spec in specs.items() if spec is not None}
    columns = columns_of(config)
    sources = find_corpora(specs, columns)
    kinds = known_checks() if checks is None else checks
    looking = [kind(config, tokenizer) for kind in kinds]
    examples: list[Example] = []
    roles: dict[str, list[int]] = {role: [] for role in sources}
    findings: list[Finding] = []
    with Progress(None, "reading") as bar:
        for role, own in sources.items():
            reader = CorpusReader(own, columns, config.data.encoding, True, config_setting)
            broken: list[BrokenRow] = []
            try:
                for item in reader.examples():
                    if isinstance(item, BrokenRow):
                        broken.append(item)
                        continue
                    document = ReadDocument(len(examples), role, item)
                    if len(document.text) > _LONG:
                        size = f"{len(document.text):,} characters"
                        log.info(f"reading: {item.location} is of {size}, which takes its time")
                    for check in looking:
                        check.add(document)
                        bar.advance(0)
                    roles[role].append(document.number)
                    examples.append(document.without_text())
                    bar.advance()
            except DataError as error:
                findings.append(_refused("unreadable", str(error)))
            if broken:
                findings.append(_broken(role, broken))
    corpus = CheckedCorpus(config, examples)
    learnt = list(_learn(corpus, roles))
    if findings:
        # What is wrong with the documents that are left may be for want of the others.
        learnt = [one for one in learnt if one.severity != "error"]
    findings += learnt
    for check in looking if corpus.splits else ():
        findings += check.findings(corpus)
    return corpus, looking, findings


def _broken(role: str, broken: Sequence[BrokenRow]) -> Finding:
    first, count = broken[0], sum(max(1, one.unread) for one in broken)
    what = f"{count:,} rows cannot be read; the first: " if len(broken) > 1 else ""
    return Finding(
        "error",
        f"unreadable_in_{role}",
        f"{role}: {what}{first.location}: {first.reason}",
        _WOULD_FAIL,
        {"documents": count},
        [one.location for one in broken[:3]],
    )


def _refused(name: str, message: str) -> Finding:
    return Finding("error", name, message, _WOULD_FAIL)


def _learn(corpus: CheckedCorpus, roles: Mapping[str, list[int]]) -> Iterator[Finding]:
    """Learn the tasks of a run and make its splits; what would end a run is an error."""
    config, examples = corpus.config, corpus.examples
    empty = [role for role, numbers in roles.items() if not numbers]
    if empty:
        if "train" not in empty:
            corpus.splits = {role: numbers for role, numbers in roles.items() if numbers}
        return
    corpus.splits = dict(roles)
    train = [examples[number] for number in roles["train"]]
    with _warnings() as said:
        try:
            refuse_no_texts(config, train)
            corpus.tasks = learn_tasks(config, train)
        except HierBertError as error:
            yield _refused("training_documents", str(error))
    for line in said:
        yield Finding("warning", "labels", line)
    yield from _encode(corpus, roles)
    if "validation" not in roles and corpus.tasks and not corpus.refused:
        try:
            parts = hold_out(config, train, corpus.tasks)
        except HierBertError as error:
            yield _refused("validation_documents", str(error))
        else:
            held_out = {id(example) for example in parts[1]}
            kept, validation = (
                [n for n in roles["train"] if (id(examples[n]) in held_out) is held]
                for held in (False, True)
            )
            others = {r: numbers for r, numbers in roles.items() if r != "train"}
            corpus.splits = {"train": kept, "validation": validation, **others}
    if corpus.tasks and "validation" in corpus.splits and not corpus.refused:
        try:
            check_metric(
                config.training.metric,
                corpus.tasks,
                [examples[number] for number in corpus.splits["validation"]],
            )
        except HierBertError as error:
            yield _refused("metric", str(error))


def _encode(corpus: CheckedCorpus, roles: Mapping[str, list[int]]) -> Iterator[Finding]:
    """Count the documents whose target is not allowed, such as a label that train lacks."""
    for role, numbers in roles.items():
        refused: dict[int, str] = {}
        for number in numbers:
            for task in corpus.tasks:
                try:
                    task.encode(corpus.examples[number])
                except DataError as error:
                    refused.setdefault(number, str(error))
        if refused:
            corpus.refused.update(refused)
            first = next(iter(refused.values()))
            yield corpus.finding(
                "error",
                f"labels_refused_in_{role}",
                list(refused),
                f"have a target that is refused; the first: {first}",
                "write these labels as train has them, give training documents of them, or leave "
                "them out",
            )


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """What would be logged as a warning meanwhile, in place of the log."""
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                said.append(record.getMessage())

    handlers, propagate = log.handlers, log.propagate
    log.handlers, log.propagate = [Kept()], False
    try:
        yield said
    finally:
        log.handlers, log.propagate = handlers, propagate
