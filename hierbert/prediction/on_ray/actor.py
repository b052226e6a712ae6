"""What a worker process of a Ray job does: it holds a model and turns parts into files.

It knows Ray no more than by the shape of a batch, and can be used without it. A part that keeps
ending its process is taken document by document, so that the one that does it is found; see
`PartPredictor`. Invariant: what a part holds depends on its rows alone (to rounding, where they had
to be taken one by one), so it does not matter whether a part is done twice.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hierbert
from hierbert import errors as error_classes
from hierbert.data.document import Text
from hierbert.errors import HierBertError, ModelError, RunError
from hierbert.loading.fingerprints import folder_fingerprint
from hierbert.model.decoding import SummaryRule
from hierbert.prediction.batches import count_characters
from hierbert.prediction.failures import Failures, error_row
from hierbert.prediction.on_ray.input import Item, unpack
from hierbert.prediction.on_ray.output import PartFolder
from hierbert.prediction.outputs import to_row
from hierbert.prediction.predictor import HierBertPredictor

# A machine may be lost more than once without any document's fault.
_TRIES_TOGETHER = 3
_TRIES_ALONE = 2


@dataclass(frozen=True)
class Answering:
    """How documents are answered: the same in every process.

    Attributes:
        model: A folder under the same path on every machine, or a Hub id.
        fingerprint: Of the model that was checked.
        tasks: Of "classify", "summarize", "embed".
        rule: How to summarize.
        segment_vectors: Whether "embed" gives those too.
        options: Of `HierBertPredictor.from_pretrained`.
        skip_errors: Whether a document that cannot be answered is an error of its own.
        threads: Of torch, on a CPU.
        version: Of hierbert.
    """

    model: str
    fingerprint: str
    tasks: tuple[str, ...]
    rule: SummaryRule
    segment_vectors: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    skip_errors: bool = False
    threads: int = 1
    version: str = hierbert.__version__


class PartPredictor:
    """Answers parts and writes them.

    A mistake is returned, not raised: Ray would wrap it and try again. A process that is ended
    from outside (too little memory, a lost machine) says nothing, so every try of a part is noted
    first. After three tries in vain its documents are taken one by one, each noted too; one that
    ended its process twice is given up: it goes to the errors, or ends the job.

    Args:
        answering: How to answer.
        folder: Where parts go.
    """

    def __init__(self, answering: Answering, folder: PartFolder) -> None:
        self._answering = answering
        self._folder = folder
        self._mistake: HierBertError | None = None
        self._failures = Failures()
        torch.set_num_threads(answering.threads)
        try:
            if hierbert.__version__ != answering.version:
                raise RunError(
                    f"a machine has hierbert {hierbert.__version__}, where the job was started "
                    f"with {answering.version}; install the same on all"
                )
            if folder_fingerprint(answering.model) != answering.fingerprint:
                raise ModelError(f"model {answering.model} is another one on one of the machines")
            self._predictor = HierBertPredictor.from_pretrained(
                answering.model, **answering.options
            )
        except HierBertError as error:
            self._mistake = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer parts.

        Args:
            batch: `part` (numbers) and `data` (what `pack` gave, or a mistake of reading).

        Returns:
            `part`, and `data`: what the part holds, or the mistake, as JSON.
        """
        results = [
            self._answer(int(number), data)
            for number, data in zip(batch["part"], batch["data"], strict=True)
        ]
        return {"part": batch["part"], "data": np.array(results, dtype=object)}

    def _answer(self, number: int, data: bytes) -> bytes:
        if number < 0:
            return data
        try:
            if self._mistake is not None:
                raise self._mistake
            with self._folder.writing():
                return json.dumps(vars(self._write(number, *unpack(data)))).encode()
        except HierBertError as error:
            return as_bytes(error)

    def _write(self, number: int, first_row: int, items: list[Item]) -> Any:
        tries = _Tries(self._folder.unfinished / f"tries-{number}")
        errors: list[dict[str, Any]] = []
        characters = sum(count_characters(item.text) for item in items if item.text is not None)
        rows = self._rows(tries, first_row, items, errors)
        part = self._folder.write(number, rows, errors, characters)
        tries.forget()
        return part

    def _rows(
        self, tries: "_Tries", first_row: int, items: list[Item], errors: list[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Answers to a part's documents, in order; `errors` is filled meanwhile."""
        answerable: list[tuple[int, Item, Text]] = []
        for row, item in enumerate(items, first_row):
            if item.text is not None:
                answerable.append((row, item, item.text))
            else:
                errors.append(error_row(row, item.location, item.id, item.reason or "no document"))
        together = tries.count("all") < _TRIES_TOGETHER
        answers: list[dict[str, Any]] = []
        if together:
            tries.note("all")
            try:
                for (_, item, _), prediction in zip(
                    answerable, self._predict([text for _, _, text in answerable]), strict=True
                ):
                    answers.append(to_row(item.id or "", prediction))
                self._failures.answered(len(answers))
            except OSError:
                raise
            # A tokenizer's own failures have no common class.
            except Exception:
                # Which document it was shows when they are taken one by one.
                together, answers = False, []
        if not together:
            answers = list(self._one_by_one(tries, answerable, errors))
        errors.sort(key=lambda error: int(error["row"]))
        yield from answers

    def _one_by_one(
        self,
        tries: "_Tries",
        answerable: list[tuple[int, Item, Text]],
        errors: list[dict[str, Any]],
    ) -> Iterator[dict[str, Any]]:
        for row, item, text in answerable:
            try:
                if tries.count(str(row)) >= _TRIES_ALONE:
                    raise RunError(
                        f"{_TRIES_ALONE} processes were ended from outside while they read this "
                        f"document of {count_characters(text):,} characters, likely for want of "
                        "memory"
                    )
                tries.note(str(row))
                (prediction,) = self._predict([text])
            except OSError:
                raise
            except Exception as error:
                if not self._answering.skip_errors:
                    if not isinstance(error, HierBertError):
                        raise
                    raise type(error)(f"--input: {item.location}: {error}") from error
                why = self._failures.failed(item.location, error)
                errors.append(error_row(row, item.location, item.id, why))
            else:
                self._failures.answered()
                yield to_row(item.id or "", prediction)
            tries.note(f"{row} done")

    def _predict(self, texts: list[Text]) -> Iterator[Any]:
        answering = self._answering
        return self._predictor.predict(
            texts, answering.tasks, answering.rule, answering.segment_vectors
        )


class _Tries:
    """What was begun, noted in a file that outlives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted: list[str] = []
        with contextlib.suppress(OSError):
            self._noted = path.read_text(encoding="utf-8").splitlines()

    def count(self, what: str) -> int:
        """How often something was begun by processes before; 0 where it was once finished."""
        return 0 if f"{what} done" in self._noted else self._noted.count(what)

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


def as_bytes(error: HierBertError) -> bytes:
    """A mistake as bytes that `mistake_of` reads."""
    # A kind of DataError that only the readers know is a DataError.
    kind = next(c for c in type(error).__mro__ if c.__module__ == HierBertError.__module__)
    return json.dumps({"mistake": kind.__name__, "message": str(error)}).encode()


def mistake_of(values: dict[str, Any]) -> HierBertError | None:
    """The mistake that `as_bytes` was given; None when the values are something else."""
    if "mistake" not in values:
        return None
    kind = getattr(error_classes, values["mistake"], None)
    if not (isinstance(kind, type) and issubclass(kind, HierBertError)):
        kind = RunError
    return kind(values["message"])
