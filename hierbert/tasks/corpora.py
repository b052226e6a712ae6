"""What a run makes of its documents before it segments them, and what it refuses there."""

from collections.abc import Sequence

from hierbert.config import RunConfig
from hierbert.data.columns import Columns, label_blanks
from hierbert.data.document import Example, is_blank, words_of
from hierbert.data.splits import split_validation
from hierbert.errors import DataError
from hierbert.tasks.task import Task


def columns_of(config: RunConfig) -> Columns:
    """The columns that a run reads."""
    data = config.data
    blanks = label_blanks(data.empty_label)
    return Columns(data.text_column, data.id_column, data.fields, data.delimiter, blanks=blanks)


def refuse_no_texts(config: RunConfig, train: Sequence[Example]) -> None:
    """Refuse (DataError) training documents of which none has a text, or all have the same."""
    column = config.data.text_column
    if all(is_blank(example.text) for example in train):
        raise DataError(
            f"data.train: column {column!r} holds no text in any of {len(train):,} "
            f"documents, from {train[0].location} on; data.text_column may name another"
        )
    words = list(words_of(train[0].text))
    if len(train) > 1 and all(list(words_of(example.text)) == words for example in train):
        raise DataError(
            f"data.train: column {column!r} holds the same text in all {len(train):,} "
            f"documents, from {train[0].location} on, so that nothing tells them apart; "
            "data.text_column may name another"
        )


def hold_out(
    config: RunConfig, train: Sequence[Example], tasks: Sequence[Task]
) -> tuple[list[Example], list[Example]]:
    """The training and the validation documents of a run that names none of the latter."""
    return split_validation(
        train,
        config.data.validation_fraction,
        config.seed,
        fields=[task.field for task in tasks if task.field is not None],
        stratified=all(task.stratifies for task in tasks),
    )
