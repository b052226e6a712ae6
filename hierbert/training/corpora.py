"""The corpora of a run: read, checked, labels learnt, a validation split made if none is given."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from hierbert.config import RunConfig
from hierbert.data.corpus import Columns, load_examples
from hierbert.data.document import Example, Text
from hierbert.data.splits import split_validation
from hierbert.errors import DataError
from hierbert.log import log
from hierbert.tasks.task import Task, learn_tasks


def load_corpora(
    config: RunConfig, given: Mapping[str, Any] | None = None
) -> tuple[dict[str, list[Example]], list[Task]]:
    """Read and check all documents of a run, and learn its tasks, at least one.

    Splits that are `given` take the place of those that the settings name. There are "train" and
    "validation", of at least one example each, and "test" where there is one.
    """
    data = config.data
    blanks: dict[str, Any] = {"label": []} if data.empty_label == "none" else {}
    columns = Columns(data.text_column, data.id_column, data.fields, data.delimiter, blanks=blanks)

    def load(role: str) -> list[Example] | None:
        spec = (given or {}).get(role, getattr(data, role))
        if spec is None:
            return None
        return load_examples(spec, columns, role=role, encoding=data.encoding)

    train, validation, test = load("train") or [], load("validation"), load("test")
    if all(_is_blank(example.text) for example in train):
        raise DataError(
            f"data.train: column {data.text_column!r} holds no text in any of {len(train):,} "
            f"documents, from {train[0].location} on; data.text_column may name another"
        )
    if len(train) > 1 and len({_digest(example.text) for example in train}) == 1:
        raise DataError(
            f"data.train: column {data.text_column!r} holds the same text in all {len(train):,} "
            f"documents, from {train[0].location} on, so that nothing tells them apart; "
            "data.text_column may name another"
        )
    tasks = learn_tasks(config, train)
    for task in tasks:
        for split in (train, validation or [], test or []):
            for example in split:
                task.encode(example)
    if validation is None:
        train, validation = split_validation(
            train,
            data.validation_fraction,
            config.seed,
            fields=[task.field for task in tasks if task.field is not None],
            stratified=all(task.stratifies for task in tasks),
        )
        log.info(f"validation: {len(validation):,} of the training documents, held out by the seed")
    splits = {"train": train, "validation": validation}
    if test is not None:
        splits["test"] = test
    for name, examples in splits.items():
        _report(name, examples, tasks)
    _warn_of_repeated(splits)
    return splits, tasks


def _warn_of_repeated(splits: Mapping[str, list[Example]]) -> None:
    """Name documents that are in two splits: what is measured on them is too good."""
    seen: dict[bytes, tuple[str, str]] = {}
    for name, examples in splits.items():
        found: dict[str, list[str]] = {}
        for example in examples:
            split, location = seen.setdefault(_digest(example.text), (name, example.location))
            if split != name and not _is_blank(example.text):
                found.setdefault(split, []).append(f"{example.location} is {location}")
        for split, places in found.items():
            more = f" and {len(places) - 3:,} more" if len(places) > 3 else ""
            log.warning(
                f"{name}: {len(places):,} documents stand in {split} too, so that scores on them "
                f"say little: {'; '.join(places[:3])}{more}"
            )


def _report(name: str, examples: list[Example], tasks: list[Task]) -> None:
    """Log a split's size, and what is missing in it."""
    notes = [note for task in tasks if (note := task.note(examples))]
    blank = sum(_is_blank(example.text) for example in examples)
    if blank:
        notes.append(f"{blank:,} without text")
    log.info(f"{name}: {len(examples):,} documents" + (f" ({', '.join(notes)})" if notes else ""))


def _digest(text: Text) -> bytes:
    """Of the words of a text alone."""
    words = " ".join(_words(text)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(words, digest_size=16).digest()


def _words(text: Text) -> Iterator[str]:
    """The words of a text, however it is cut."""
    for part in [text] if isinstance(text, str) else text:
        yield from part.split() if isinstance(part, str) else _words(part)


def _is_blank(text: Text) -> bool:
    """Whether there is nothing to read: no text, or nothing but white space."""
    if isinstance(text, str):
        return not text or text.isspace()
    return all(_is_blank(part) for part in text)
