"""Rows to results, in one process and by one model.

A row that cannot be answered stops the job, or is a failure among the answers, as asked. Invariant:
every row that comes in comes out once, in order, and only the documents of the batches under way
are held.
"""

import contextlib
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from hierbert.errors import (
    ConfigError,
    DataError,
    HierBertError,
    ModelError,
    RunError,
    flag_setting,
)
from hierbert.log import log
from hierbert.model.documents import Document, DocumentLike
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.predictions import Prediction
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.units import InputRow, Result

_WORD = "a"
# When so many documents could not be answered and none could, it is not the documents.
_HOPELESS = 20
# Of a document that ends its process: a machine may be lost without any document's fault.
_TRIES_TOGETHER = 3
_TRIES_ALONE = 2


class DeadlyDocument(RunError):
    """A document that ended the processes that read it."""


class Tries:
    """What processes have begun with the rows of some units, in a file that outlives them.

    A process that is ended from outside says nothing, so every try is noted first. After three
    tries in vain documents are taken one by one, each noted too. A RunError where the file, one of
    the output's, cannot be read or written.
    """

    def __init__(self, target: OutputFolder, path: Path) -> None:
        self._target, self._path = target, path
        self._noted: list[str] = []
        with target.writing(), contextlib.suppress(FileNotFoundError):
            self._noted = path.read_text(encoding="utf-8").splitlines()

    @property
    def together(self) -> bool:
        """Whether documents are still tried together."""
        return self._noted.count("all") < _TRIES_TOGETHER

    def refuse_deadly(self, row: InputRow) -> None:
        """Refuse a row that ended its process again and again: a DeadlyDocument."""
        count = self._noted.count(row.fingerprint)
        if f"{row.fingerprint} done" not in self._noted and count >= _TRIES_ALONE:
            raise DeadlyDocument(
                f"{_TRIES_ALONE} processes were ended from outside while they read this document "
                f"of {row.size:,} bytes, likely for want of memory"
            )

    def note(self, what: str) -> None:
        """Note that something begins or is done."""
        with self._target.writing():
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(handle, f"{what}\n".encode())
            finally:
                os.close(handle)

    def forget(self) -> None:
        """All is done."""
        with self._target.writing():
            self._path.unlink(missing_ok=True)


class Answerer:
    """Answers rows by a model: what is asked of each are arguments of `HierBert.answering`.

    With `skip` a document that cannot be answered is passed over; else it stops the job.
    """

    def __init__(
        self, predictor: HierBertPredictor, question: dict[str, Any], skip: bool = False
    ) -> None:
        self.question, self._skip = question, skip
        self._ask, self._fields = predictor.answering(**question), predictor.processor.fields
        self._answered = self._failed = 0
        self._told = False

    def results(self, rows: Iterable[InputRow], tries: Tries | None = None) -> Iterator[Result]:
        """Answer rows, in order and as they are needed.

        What reading them raises is raised when the rows before it are answered. `tries` is where
        tries are noted; None where a process that ends ends the job.
        """
        self._rows = iter(rows)
        # Read and not yet behind, in order.
        self._waiting: deque[InputRow] = deque()
        self._mistake: Exception | None = None
        if tries is not None and not tries.together:
            for _ in self._texts():
                yield from self._one_by_one(tries)
        else:
            if tries is not None:
                tries.note("all")
            while not (yield from self._together()):
                yield from self._one_by_one(None)
        yield from self._broken_rows()
        if self._mistake is not None:
            raise self._mistake

    def _texts(self) -> Iterator[DocumentLike]:
        try:
            for row in self._rows:
                self._waiting.append(row)
                if row.text is not None:
                    yield row.text
        # Whatever it is, it is none of a document's, and the input does not end here.
        except Exception as error:
            self._mistake = error

    def _together(self) -> Generator[Result, None, bool]:
        """Answer rows until one cannot be answered, or to the end: whether that was reached."""
        predictions = self._ask(self._texts())
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
            yield from self._broken_rows()
            if prediction is None:
                return True
            yield self._result(self._waiting.popleft(), prediction)
            yield from self._broken_rows()

    def _broken_rows(self) -> Iterator[Result]:
        """What stands before the next document."""
        while self._waiting and self._waiting[0].broken is not None:
            row = self._waiting.popleft()
            yield Result(row, None, row.broken)

    def _one_by_one(self, tries: Tries | None) -> Iterator[Result]:
        """Answer what was read ahead, so that what is at fault fails alone."""
        while self._waiting:
            row = self._waiting.popleft()
            yield Result(row, None, row.broken) if row.broken is not None else self._one(row, tries)

    def _one(self, row: InputRow, tries: Tries | None) -> Result:
        assert row.text is not None
        try:
            if tries is not None:
                tries.refuse_deadly(row)
                tries.note(row.fingerprint)
            [prediction] = self._ask([row.text])
        except Exception as error:
            result = Result(row, None, self._failure(row, error))
        else:
            result = self._result(row, prediction)
        if tries is not None:
            tries.note(f"{row.fingerprint} done")
        return result

    def _result(self, row: InputRow, prediction: Prediction) -> Result:
        assert row.id is not None
        self._answered += 1
        answer = {"id": row.id, **prediction.row()}
        for name in row.kept:
            if name in answer:
                raise ConfigError(
                    f"--keep-columns: answers have {name!r} themselves; write {name}=NEW"
                )
        return Result(row, {"id": row.id, **row.kept, **answer}, None, prediction.text)

    def _failure(self, row: InputRow, error: Exception) -> str:
        """Why a document is passed over that could not be answered alone.

        Raised where it stops the job.

        A RunError where many could not be answered and none could, or nothing can be any more.
        """
        if not _is_of_a_document(error):
            raise error
        if not self._skip:
            if isinstance(error, HierBertError):
                error.place = row.location
            raise error
        why = _why(error)
        if not isinstance(error, DeadlyDocument) and not self._answers_a_word():
            raise RunError(
                f"{row.location} could not be answered, and since then nothing can: {why}"
            ) from error
        self._failed += 1
        if not self._answered and self._failed >= _HOPELESS:
            raise RunError(
                f"none of the first {self._failed} documents could be answered; the last, "
                f"{row.location}: {why}"
            ) from error
        return why

    def _answers_a_word(self) -> bool:
        """When not even a word is answered any more, the document is not what failed."""
        word = Document(_WORD, dict.fromkeys(self._fields))
        try:
            list(self._ask([word]))
        except Exception as error:
            if not _is_of_a_document(error):
                raise
            return False
        return True


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
        return error.worded(flag_setting)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
