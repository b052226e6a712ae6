"""The corpora of a run: read, checked, labels learnt, a validation split made if none is given."""

from dataclasses import dataclass

from hierbert.config import RunConfig
from hierbert.data.corpus import Columns, load_examples
from hierbert.data.document import Example, Text
from hierbert.data.labels import LabelMap
from hierbert.data.splits import split_validation
from hierbert.errors import ConfigError, DataError
from hierbert.log import log


@dataclass(frozen=True)
class Corpora:
    """Examples of each split, and what the labels mean.

    Attributes:
        train: At least one.
        validation: At least one.
        test: None when no test documents are given.
        label_map: None without a label column.
    """

    train: list[Example]
    validation: list[Example]
    test: list[Example] | None
    label_map: LabelMap | None


def load_corpora(config: RunConfig) -> Corpora:
    """Read all documents of a run and check them before anything costs time.

    Args:
        config: Its `data` section names files and columns.

    Returns:
        The examples, unlabelled ones included.

    Raises:
        ConfigError: A setting is at odds with the data.
        DataError: A file cannot be read, or a label is unknown.
    """
    data = config.data
    columns = Columns(data.text_column, data.label_column, data.summary_column, data.id_column)

    def load(spec: str | list[str], role: str) -> list[Example]:
        return load_examples(spec, columns, role=role, encoding=data.encoding)

    train = load(data.train, "train")
    validation = load(data.validation, "validation") if data.validation is not None else None
    test = load(data.test, "test") if data.test is not None else None
    if all(_is_blank(example.text) for example in train):
        raise DataError(
            f"data.train: column {data.text_column!r} holds no text in any of {len(train):,} "
            f"documents, from {train[0].location} on; data.text_column may name another"
        )
    label_map = None
    if data.label_column is not None:
        label_map = LabelMap.learn(
            train, data.label_type, data.label_separator, field=data.label_column
        )
        for split in (train, validation or [], test or []):
            for example in split:
                label_map.encode(example)
    elif data.label_separator is not None:
        raise ConfigError("data.label_separator is set, but data.label_column is not")
    if data.summary_column is not None and not any(example.summary for example in train):
        raise DataError(
            f"data.train: column {data.summary_column!r} holds no summary in any of "
            f"{len(train):,} documents, from {train[0].location} on"
        )
    if validation is None:
        # Numbers and lists of labels held as strings (csv) look like class names, and each that
        # occurs once would stay in training.
        by_label = label_map is not None and label_map.problem_type == "single_label"
        train, validation = split_validation(
            train,
            data.validation_fraction,
            config.seed,
            stratified=None if by_label or label_map is None else False,
        )
        log.info(f"validation: {len(validation):,} of the training documents, held out by the seed")
    splits = {"train": train, "validation": validation, "test": test}
    for name, examples in splits.items():
        _report(name, examples, label_map, data.summary_column is not None)
    return Corpora(train, validation, test, label_map)


def _report(
    name: str, examples: list[Example] | None, label_map: LabelMap | None, summarize: bool
) -> None:
    """One line on a split; what is missing in it is said."""
    if examples is None:
        return
    notes = []
    if label_map is not None:
        unlabelled = sum(example.label is None for example in examples)
        if unlabelled:
            notes.append(f"{unlabelled:,} without a label")
    if summarize:
        without = sum(example.summary is None for example in examples)
        if without:
            notes.append(f"{without:,} without a summary")
    blank = sum(_is_blank(example.text) for example in examples)
    if blank:
        notes.append(f"{blank:,} without text")
    log.info(f"{name}: {len(examples):,} documents" + (f" ({', '.join(notes)})" if notes else ""))


def _is_blank(text: Text) -> bool:
    """Whether there is nothing to read: no text, or nothing but white space."""
    if isinstance(text, str):
        return not text or text.isspace()
    return all(_is_blank(part) for part in text)
