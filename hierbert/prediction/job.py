"""Batch inference: the rows of one process, answered one after the other into a sink.

A row that cannot be answered stops the job, or is a failure among the answers, as asked. Invariant:
every row that comes in goes to the sink once, in order, and only the documents of the batches under
way are held.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from hierbert.data.document import Text
from hierbert.errors import DataError, HierBertError, ModelError, RunError
from hierbert.log import Progress
from hierbert.model.decoding import SummaryRule
from hierbert.prediction.failures import Failures, why_of
from hierbert.prediction.outputs import to_row
from hierbert.prediction.predictions import Prediction
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.rows import InputRow, PartEnd
from hierbert.prediction.sharing import Passed

_WORD = "a"


@dataclass(frozen=True)
class Question:
    """What is asked of every document.

    Attributes:
        tasks: Of "classify", "summarize", "embed".
        rule: How to summarize; None for the model's own way.
        segment_vectors: Whether "embed" gives those too.
    """

    tasks: Sequence[str]
    rule: SummaryRule | None = None
    segment_vectors: bool = False

    def predict(self, predictor: HierBertPredictor, texts: Iterable[Text]) -> Iterator[Prediction]:
        """Ask it of documents."""
        return predictor.predict(texts, self.tasks, self.rule, self.segment_vectors)


class Sink(Protocol):
    """Where answers go."""

    def answer(self, row: InputRow, answer: dict[str, Any]) -> None:
        """Take the answer to a row."""

    def fail(self, row: InputRow, why: str) -> None:
        """Take the reason why a row has no answer."""

    def end_part(self, end: PartEnd) -> None:
        """All rows of a part that are this process's have been taken."""


class Job:
    """The share of one process.

    Args:
        predictor: The model.
        question: What is asked.
        items: The process's rows, from `own_share`.
        sink: Where answers go.
        skip: Whether a document that cannot be answered is passed over; else it stops the job.
        processes: How many share the rows, for the shown tokens a second.
    """

    def __init__(
        self,
        predictor: HierBertPredictor,
        question: Question,
        items: Iterable[InputRow | PartEnd | Passed],
        sink: Sink,
        skip: bool = False,
        processes: int = 1,
    ) -> None:
        self._predictor = predictor
        self._question = question
        self._items = iter(items)
        self._sink = sink
        self._skip = skip
        self._processes = processes
        # Taken from the items and not yet dealt with, in order.
        self._waiting: deque[InputRow | PartEnd | Passed] = deque()
        self._broken: HierBertError | None = None
        self._failures = Failures()
        self._rows = 0

    def run(self, size: int | None) -> None:
        """Answer all rows.

        Args:
            size: Of the whole input in UTF-8 bytes, for the time left; None when unknown.

        Raises:
            DataError: A row cannot be read; the rows before it are answered.
            ModelError: The model cannot answer a document.
            RunError: The sink cannot be written, or the device has too little memory.
        """
        with Progress(size, "predicting", unit="bytes") as self._bar:
            while not self._all_in_one_stream():
                self._one_by_one()
        if self._broken is not None:
            raise self._broken

    def _texts(self) -> Iterator[Text]:
        try:
            for item in self._items:
                self._waiting.append(item)
                if isinstance(item, InputRow) and item.text is not None:
                    yield item.text
        except HierBertError as error:
            # Told at the end, so that the documents before it are answered.
            self._broken = error

    def _all_in_one_stream(self) -> bool:
        """Answer rows until the end, or until a document that cannot be answered."""
        predictions = self._question.predict(self._predictor, self._texts())
        while True:
            try:
                prediction = next(predictions, None)
            except Exception as error:
                if not (self._skip and _is_of_a_document(error)):
                    raise
                return False
            self._pass_markers()
            if prediction is None:
                return True
            row = self._waiting.popleft()
            assert isinstance(row, InputRow)  # predictions come in the order of the texts
            self._answer(row, prediction)
            self._pass_markers()

    def _one_by_one(self) -> None:
        """Answer what was read ahead, so that what is at fault fails alone."""
        while self._waiting:
            self._pass_markers()
            if not self._waiting:
                return
            row = self._waiting.popleft()
            assert isinstance(row, InputRow) and row.text is not None
            try:
                [prediction] = self._question.predict(self._predictor, [row.text])
            except Exception as error:
                if not _is_of_a_document(error):
                    raise
                self._refuse_a_failed_device(row, error)
                self._sink.fail(row, self._failures.failed(row.location, error))
                continue
            self._answer(row, prediction)

    def _refuse_a_failed_device(self, row: InputRow, error: Exception) -> None:
        """When not even a word is answered any more, the document is not what failed."""
        try:
            list(self._question.predict(self._predictor, [_WORD]))
        except Exception as second:
            if not _is_of_a_document(second):
                raise
            raise RunError(
                f"{row.location} could not be answered, and since then nothing can: {why_of(error)}"
            ) from error

    def _answer(self, row: InputRow, prediction: Prediction) -> None:
        assert row.id is not None
        self._sink.answer(row, to_row(row.id, prediction))
        self._failures.answered()

    def _pass_markers(self) -> None:
        """Deal with what stands before the next document."""
        while self._waiting:
            item = self._waiting[0]
            if isinstance(item, InputRow):
                if item.broken is None:
                    return
                self._sink.fail(item, item.broken)
            elif isinstance(item, PartEnd):
                self._sink.end_part(item)
            else:
                self._show(item)
            self._waiting.popleft()

    def _show(self, passed: Passed) -> None:
        self._rows += passed.rows
        # Rows are dealt by size: where this process is, the others are too.
        rate = self._bar.per_second(self._predictor.tokens_read * self._processes)
        self._bar.note(documents=f"{self._rows:,}", **{"tokens/s": f"{rate:,.0f}"})
        self._bar.skip(passed.size_before)
        self._bar.advance(passed.size - passed.size_before)


def _is_of_a_document(error: Exception) -> bool:
    """Whether another document may be answered all the same."""
    if isinstance(error, OSError):
        return False
    if isinstance(error, RunError):
        return isinstance(error.__cause__, torch.OutOfMemoryError)
    # A tokenizer's own failures have no common class.
    return isinstance(error, DataError | ModelError) or not isinstance(error, HierBertError)
