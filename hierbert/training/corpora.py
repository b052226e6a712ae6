"""The corpora of a run: read, checked, labels learnt, a validation split made if none is given."""

from collections.abc import Mapping
from typing import Any

from hierbert.config import RunConfig
from hierbert.data.columns import Columns, label_blanks
from hierbert.data.corpus import find_corpora, load_examples
from hierbert.data.document import Example, is_blank, words_of
from hierbert.data.repeated import warn_of_repeated
from hierbert.data.splits import split_validation
from hierbert.errors import DataError
from hierbert.log import log
from hierbert.tasks.prepared import log_documents
from hierbert.tasks.task import Task, learn_tasks


def load_corpora(
    config: RunConfig, given: Mapping[str, Any] | None = None
) -> tuple[dict[str, list[Example]], list[Task]]:
    """Read and check all documents of a run, and learn its tasks, at least one.

    Splits that are `given` take the place of those that the settings name. There are "train" and
    "validation", of at least one example each, and "test" where there is one.
    """
    data = config.data
    blanks = label_blanks(data.empty_label)
    columns = Columns(data.text_column, data.id_column, data.fields, data.delimiter, blanks=blanks)

    specs = {role: getattr(data, role) for role in ("train", "validation", "test")}
    specs |= given or {}
    sources = find_corpora({r: spec for r, spec in specs.items() if spec is not None}, columns)
    read = {role: load_examples(found, columns, data.encoding) for role, found in sources.items()}
    train, validation, test = read["train"], read.get("validation"), read.get("test")
    if all(is_blank(example.text) for example in train):
        raise DataError(
            f"data.train: column {data.text_column!r} holds no text in any of {len(train):,} "
            f"documents, from {train[0].location} on; data.text_column may name another"
        )
    words = list(words_of(train[0].text))
    if len(train) > 1 and all(list(words_of(example.text)) == words for example in train):
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
        log_documents(name, examples, tasks)
    warn_of_repeated(splits)
    return splits, tasks
