"""Rows to results without a model: their order, what fails alone, what stops a job."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import make_rows

from hierbert.data.document import Example
from hierbert.errors import DataError, HierBertError, ModelError, RunError
from hierbert.model.documents import Document
from hierbert.prediction.answerer import Answerer, Tries
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.predictions import Prediction
from hierbert.prediction.units import InputRow, Result, to_row

BAD = "bad"
TARGET = OutputFolder(Path("answers.jsonl"), "jsonl")
TASKS = ("classify",)


def out_of_memory() -> RunError:
    error = RunError("too little memory")
    error.__cause__ = torch.OutOfMemoryError()
    return error


class Model:
    """Labels a text by its length, reads `ahead` texts at once, and fails on those that are bad."""

    def __init__(self, ahead: int = 3, make_error: Callable[[], BaseException] | None = None):
        self.ahead, self.make_error = ahead, make_error
        self.processor = SimpleNamespace(fields=("place",))
        self.asked: list[list[Any]] = []

    def answering(self, tasks: Any) -> Callable[[Iterable[Any]], Iterator[Prediction]]:
        assert tasks == TASKS
        return self.answers

    def answers(self, texts: Iterable[Any]) -> Iterator[Prediction]:
        batch: list[Any] = []
        for text in texts:
            batch.append(text)
            if len(batch) == self.ahead:
                yield from self.batch(batch)
                batch = []
        yield from self.batch(batch)

    def batch(self, batch: list[Any]) -> Iterator[Prediction]:
        self.asked.append(batch)
        if self.make_error is not None and BAD in batch:
            raise self.make_error()
        for text in batch:
            # Asked of a word, it has every field.
            words = text.text if isinstance(text, Document) and "place" in text.fields else text
            yield Prediction(label=f"{len(words)}")


def answerer(model: Model, skip: bool = False) -> Answerer:
    return Answerer(model, {"tasks": TASKS}, skip)  # type: ignore[arg-type]


def rows_of(*texts: str | None) -> list[InputRow]:
    """Rows of documents; None is one that cannot be read."""
    (broken,) = make_rows([1], {0})
    return [
        broken if text is None else to_row(Example(f"d{n}", text, {}, f"line {n + 1}"))
        for n, text in enumerate(texts)
    ]


def expected(rows: list[InputRow], why: str = "") -> list[Result]:
    """By the rows themselves."""
    return [
        Result(row, None, row.broken or why)
        if row.broken or (why and row.text == BAD)
        else Result(row, {"id": row.id, "label": f"{len(row.text or '')}"}, None)
        for row in rows
    ]


@settings(deadline=None, max_examples=100)
@given(
    texts=st.lists(st.sampled_from(["a", "bb", "", None, BAD]), max_size=15),
    ahead=st.integers(1, 5),
    error=st.sampled_from([(ModelError("m"), "m"), (ValueError("v"), "ValueError: v")]),
    damage=st.sampled_from([None, DataError("damaged"), ValueError("damaged")]),
)
def test_every_row_comes_out_once_in_order_and_a_bad_one_costs_itself_alone(
    texts, ahead, error, damage
) -> None:
    rows = rows_of(*texts)

    def read() -> Iterator[InputRow]:
        yield from rows
        if damage is not None:
            raise damage

    def found(model: Model) -> Iterator[Result]:
        results = answerer(model, skip=True).results(read())
        yield from itertools.islice(results, len(rows))
        with nullcontext() if damage is None else pytest.raises(type(damage), match="damaged"):
            yield from results

    assert list(found(Model(ahead))) == expected(rows)
    assert list(found(Model(ahead, lambda: error[0]))) == expected(rows, error[1])


@pytest.mark.parametrize(
    "error", [ModelError("m"), DataError("m", place="texts[0]"), out_of_memory(), KeyError("k")]
)
def test_a_job_that_shall_stop_stops_at_the_document_itself(error) -> None:
    rows = rows_of("a", "b", BAD, "c")
    results = answerer(Model(9, lambda: error)).results(rows)
    assert [next(results), next(results)] == expected(rows[:2])
    with pytest.raises(type(error)) as caught:
        next(results)
    if isinstance(error, HierBertError):
        assert str(caught.value).startswith("line 3: ")


def test_what_is_wrong_with_all_documents_stops_the_job() -> None:
    with pytest.raises(RunError, match=r"none of the first 20 documents .* line 20: too little"):
        list(answerer(Model(4, out_of_memory), skip=True).results(rows_of(*[BAD] * 40)))
    # One that was answered shows that it is the documents.
    rows = rows_of("a", *[BAD] * 40)
    assert len(list(answerer(Model(4, out_of_memory), skip=True).results(rows))) == 41


def test_a_device_that_fails_for_good_costs_no_document() -> None:
    model = Model(1)
    results = answerer(model, skip=True).results(rows_of("a", "b", "c"))
    assert next(results) == expected(rows_of("a"))[0]

    def broken(batch: list[Any]) -> Iterator[Prediction]:
        raise RuntimeError("CUDA error")

    model.batch = broken  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"^line 2 could .* nothing can: RuntimeError: CUDA error"):
        next(results)


@pytest.mark.parametrize("error", [OSError(28, "No space left"), RunError("the cache is gone")])
def test_what_no_document_can_be_blamed_for_stops_the_job_as_it_is(error) -> None:
    with pytest.raises(type(error)) as caught:
        list(answerer(Model(2, lambda: error), skip=True).results(rows_of("a", BAD)))
    assert caught.value is error and getattr(error, "place", None) is None


def test_a_process_that_is_lost_by_chance_blames_no_document(tmp_path) -> None:
    """What documents do that end their process again and again, see test_ray_actor.py."""
    rows, path = rows_of("a", "b", "c"), tmp_path / "tries"
    first, second, _ = (row.fingerprint for row in rows)
    path.write_text("\n".join(["all"] * 3 + [first, first, f"{first} done", second]) + "\n")
    model = Model(9)
    assert list(answerer(model).results(rows, Tries(TARGET, path))) == expected(rows)
    assert model.asked == [["a"], ["b"], ["c"]]
