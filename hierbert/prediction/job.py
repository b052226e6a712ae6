"""Batch inference: rows answered one after the other into a sink, in one process.

A row that cannot be answered stops the job, or is a failure among the answers, as asked. Invariant:
every row that comes in goes to the sink once, in order, and only the documents of the batches under
way are held.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from hierbert.errors import DataError, HierBertError, ModelError, RunError, flag_setting
from hierbert.log import log
from hierbert.model.documents import Document, DocumentLike
from hierbert.prediction.answer_files import to_row
from hierbert.prediction.predictions import Prediction
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.units import InputRow, Passed, UnitEnd, UnitName

_WORD = "a"
# When so many documents could not be answered and none could, it is not the documents.
_HOPELESS = 20
# Of a document that ends its process: a machine may be lost without any document's fault.
_TRIES_TOGETHER = 3
_TRIES_ALONE = 2

Item = UnitName | InputRow | UnitEnd | Passed


@dataclass(frozen=True)
class Question:
    """What is asked of every document.

    Attributes:
        tasks: Of "classify", "summarize", "embed".
        rule: Values that heads answer by, by the names of `Head.settings`.
        segment_vectors: Whether "embed" gives those too.
    """

    tasks: Sequence[str]
    rule: Mapping[str, Any] = field(default_factory=dict)
    segment_vectors: bool = False

    def predict(
        self, predictor: HierBertPredictor, texts: Iterable[DocumentLike]
    ) -> Iterator[Prediction]:
        """Ask it of documents."""
        return predictor.predict(texts, self.tasks, self.rule, self.segment_vectors)


class Sink(Protocol):
    """Where answers go."""

    def start(self, unit: UnitName) -> None:
        """A unit begins."""

    def answer(self, row: InputRow, answer: dict[str, Any]) -> None:
        """Take the answer to a row."""

    def fail(self, row: InputRow, why: str) -> None:
        """Take the reason why a row has no answer."""

    def end(self, end: UnitEnd) -> None:
        """All rows of the unit have been taken."""


class DeadlyDocument(RunError):
    """A document that ended the processes that read it."""


class Tries:
    """What processes have begun with the rows of some units, in a file that outlives them.

    A process that is ended from outside says nothing, so every try is noted first. After three
    tries in vain documents are taken one by one, each noted too.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted: list[str] = []
        with contextlib.suppress(OSError):
            self._noted = path.read_text(encoding="utf-8").splitlines()

    @property
    def together(self) -> bool:
        """Whether documents are still tried together."""
        return self._noted.count("all") < _TRIES_TOGETHER

    def refuse_deadly(self, row: InputRow) -> None:
        """Refuse a row that ended its process again and again.

        Raises:
            DeadlyDocument: It did.
        """
        count = self._noted.count(row.fingerprint)
        if f"{row.fingerprint} done" not in self._noted and count >= _TRIES_ALONE:
            raise DeadlyDocument(
                f"{_TRIES_ALONE} processes were ended from outside while they read this document "
                f"of {row.size:,} bytes, likely for want of memory"
            )

    def note(self, what: str) -> None:
        """Note that something begins."""
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, f"{what}\n".encode())
        finally:
            os.close(handle)

    def forget(self) -> None:
        """All is done."""
        self._path.unlink(missing_ok=True)


class Job:
    """Answers rows.

    Args:
        predictor: The model.
        question: What is asked.
        sink: Where answers go.
        skip: Whether a document that cannot be answered is passed over; else it stops the job.
        passed: Called with each item when it is behind: how far the job is.
    """

    def __init__(
        self,
        predictor: HierBertPredictor,
        question: Question,
        sink: Sink,
        skip: bool = False,
        passed: Callable[[Item], None] = lambda item: None,
    ) -> None:
        self._predictor = predictor
        self._question = question
        self._sink = sink
        self._skip = skip
        self._passed = passed
        self._answered = self._failed = 0
        self._told = False

    def run(self, items: Iterable[Item], tries: Tries | None = None) -> None:
        """Answer all rows.

        Args:
            items: From `own_units`.
            tries: Where tries are noted; None where a process that ends ends the job.

        Raises:
            DataError: A row cannot be read; the rows before it are answered.
            ModelError: The model cannot answer a document.
            RunError: The sink cannot be written, or the device has too little memory.
        """
        self._items = iter(items)
        # Taken from the items and not yet behind, in order.
        self._waiting: deque[Item] = deque()
        self._broken: HierBertError | None = None
        if tries is None or tries.together:
            if tries is not None:
                tries.note("all")
            while not self._all_in_one_stream():
                self._one_by_one(None)
        else:
            for _ in self._texts():
                self._one_by_one(tries)
            self._pass_markers()
        if self._broken is not None:
            raise self._broken

    def _texts(self) -> Iterator[DocumentLike]:
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
                if not _is_of_a_document(error):
                    raise
                if isinstance(error, RunError) and not self._told:
                    self._told = True
                    log.info(f"{error.worded(flag_setting)}; the documents are answered one by one")
                return False
            self._pass_markers()
            if prediction is None:
                return True
            row = self._waiting.popleft()
            assert isinstance(row, InputRow)  # predictions come in the order of the texts
            self._answer(row, prediction)
            self._pass_markers()

    def _one_by_one(self, tries: Tries | None) -> None:
        """Answer what was read ahead, so that what is at fault fails alone."""
        while self._waiting:
            self._pass_markers()
            if not self._waiting:
                return
            row = self._waiting.popleft()
            assert isinstance(row, InputRow) and row.text is not None
            try:
                if tries is not None:
                    tries.refuse_deadly(row)
                    tries.note(row.fingerprint)
                [prediction] = self._question.predict(self._predictor, [row.text])
            except Exception as error:
                self._fail(row, error)
            else:
                self._answer(row, prediction)
            if tries is not None:
                tries.note(f"{row.fingerprint} done")

    def _fail(self, row: InputRow, error: Exception) -> None:
        """A document could not be answered alone: it is passed over, or stops the job.

        Raises:
            RunError: Many could not, and none could, or nothing can be answered any more.
        """
        if not _is_of_a_document(error):
            raise error
        if not self._skip:
            if isinstance(error, HierBertError) and error.place is None:
                error.place = row.location
            raise error
        if not isinstance(error, DeadlyDocument):
            self._refuse_a_failed_device(row, error)
        self._failed += 1
        why = _why(error)
        if not self._answered and self._failed >= _HOPELESS:
            raise RunError(
                f"none of the first {self._failed} documents could be answered; the last, "
                f"{row.location}: {why}"
            ) from error
        self._sink.fail(row, why)
        self._passed(row)

    def _refuse_a_failed_device(self, row: InputRow, error: Exception) -> None:
        """When not even a word is answered any more, the document is not what failed."""
        try:
            nothing = dict.fromkeys(self._predictor.processor.fields)
            list(self._question.predict(self._predictor, [Document(_WORD, nothing)]))
        except Exception as second:
            if not _is_of_a_document(second):
                raise
            raise RunError(
                f"{row.location} could not be answered, and since then nothing can: {_why(error)}"
            ) from error

    def _answer(self, row: InputRow, prediction: Prediction) -> None:
        assert row.id is not None
        self._sink.answer(row, to_row(row.id, prediction))
        self._answered += 1
        self._passed(row)

    def _pass_markers(self) -> None:
        """Deal with what stands before the next document."""
        while self._waiting:
            item = self._waiting[0]
            if isinstance(item, InputRow):
                if item.broken is None:
                    return
                self._sink.fail(item, item.broken)
            elif isinstance(item, UnitName):
                self._sink.start(item)
            elif isinstance(item, UnitEnd):
                self._sink.end(item)
            self._passed(item)
            self._waiting.popleft()


def _is_of_a_document(error: Exception) -> bool:
    """Whether another document may be answered all the same."""
    if isinstance(error, OSError):
        return False
    if isinstance(error, RunError):
        out_of_memory = isinstance(error.__cause__, torch.OutOfMemoryError)
        return out_of_memory or isinstance(error, DeadlyDocument)
    # A tokenizer's own failures have no common class.
    return isinstance(error, DataError | ModelError) or not isinstance(error, HierBertError)


def _why(error: Exception) -> str:
    """What happened, in a line; of an error that is not ours, its kind too."""
    if isinstance(error, HierBertError):
        return " ".join(error.worded(flag_setting).split())
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
