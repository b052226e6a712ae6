"""The surest mistakes, the largest errors, and summaries beside their references."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from hierbert.tasks.evidence_places import asked_for_places, evidence_places
from hierbert.tasks.mistakes import excerpt, largest_errors, surest_mistakes
from hierbert.tasks.prepared import length_histogram
from hierbert.tasks.summary_examples import summary_examples


def documents(count: int) -> Any:
    return [
        SimpleNamespace(
            id=f"d{n}",
            segmented=SimpleNamespace(
                text=f"Text  {n}.\n", sentence_spans=[(0, 4)], given_sentences=n == 2
            ),
        )
        for n in range(count)
    ]


def test_the_surest_wrong_answer_comes_first() -> None:
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.95, 0.05]])
    found = surest_mistakes(
        documents(4), shares, shares.argmax(1), np.array([1, 1, 0, 0]), ["law", "film"]
    )
    first = {"id": "d0", "true": "film", "answer": "law", "probability": 0.9, "excerpt": "Text 0."}
    assert found[0] == {**first, "labels": ["law", "film"], "text": "Text  0.\n"}
    # What came as sentences stays sentences.
    assert found[1]["text"] == ["Text"]
    assert [(one["id"], one["probability"]) for one in found] == [("d0", 0.9), ("d2", 0.6)]


def test_a_mistake_about_several_labels_is_about_one_of_them() -> None:
    shares = np.array([[0.9, 0.05], [0.3, 0.8]])
    true, given = np.array([[0, 1], [0, 1]]), np.array([[1, 0], [0, 1]])
    found = surest_mistakes(documents(2), shares, given, true, ["a", "b"])
    told = [(one["true"], one["answer"], round(one["probability"], 3)) for one in found]
    assert told == [("b", "not b", 0.95), ("not a", "a", 0.9)]


def test_at_most_ten_and_none_that_are_right() -> None:
    shares = np.tile([0.9, 0.1], (30, 1))
    found = surest_mistakes(documents(30), shares, np.zeros(30, int), np.ones(30, int), ["a", "b"])
    assert [one["id"] for one in found] == [f"d{n}" for n in range(10)]
    found = largest_errors(documents(3), np.array([1.0, 5.0, 2.0]), np.array([1.5, 1.0, 2.0]))
    assert [(one["id"], one["error"]) for one in found] == [("d1", 4.0), ("d0", -0.5)]


def test_an_excerpt_is_the_beginning_on_one_line() -> None:
    (one,) = documents(1)
    one.segmented.text = "word\n\n" * 1000
    assert excerpt(one) == ("word " * 60).rstrip() + "…"


def test_summaries_from_the_best_to_the_worst() -> None:
    scores = [{"rouge1": value} for value in (0.2, 0.9, 0.5, 0.1, 0.6)]
    references = [["r", "s", "t", "u"]] * 5
    found = summary_examples(documents(5), list("abcde"), references, scores, "rouge1")
    told = [(one["which"], one["id"], one["summary"]) for one in found]
    assert told == [("Best", "d1", "b"), ("In the middle", "d2", "c"), ("Worst", "d3", "d")]
    assert found[0]["references"] == ["r", "s", "t"] and found[0]["score"] == 0.9
    assert len(summary_examples(documents(1), ["a"], [["r"]], scores[:1], "rouge1")) == 1


def test_lengths_are_counted_in_ranges_that_double() -> None:
    splits: Any = {
        "train": [SimpleNamespace(tokens=size) for size in (1, 64, 65, 128, 129, 300)],
        "test": [SimpleNamespace(tokens=70)],
    }
    found = length_histogram(splits)
    assert found["from"] == [0, 65, 129, 257] and found["to"] == [64, 128, 256, None]
    assert found["splits"] == {"train": [2, 2, 1, 1], "test": [0, 1, 0, 0]}
    alone = length_histogram({"test": splits["test"]})
    assert alone == {"from": [0], "to": [None], "splits": {"test": [1]}}


def test_scores_by_the_third_that_holds_most_of_the_evidence() -> None:
    places = [[0.1, 0.2, 0.9], [0.0, 1.0], [0.7], [], [0.34, 0.5], [0.99]]
    found = evidence_places(places, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "rouge1", "What.", 0)
    told = {one["part"]: (one["documents"], round(one["score"], 6)) for one in found["parts"]}
    assert told == {
        "first third": (1, 0.1),
        "middle third": (1, 0.5),
        "last third": (2, 0.45),
        "no one of them": (1, 0.2),
    }
    assert found["parts"][2]["low"] == 0.3 and found["parts"][2]["high"] == 0.6
    assert evidence_places([[]], [0.1], "rouge1", "What.", 0) == {}
    assert evidence_places([], [], "rouge1", "What.", 0) == {}


def test_evidence_is_asked_of_some_documents_from_the_first_to_the_last() -> None:
    def asked(targets: list[Any]) -> list[int]:
        found: Any = [SimpleNamespace(targets={"a": None, "b": one}) for one in targets]
        return sorted(asked_for_places(found))

    assert asked([]) == [] and asked([None, 0, None, "x"]) == [1, 3]
    many = asked([None, 1] * 500)
    assert len(many) == 200 and (many[0], many[-1]) == (1, 999) and all(n % 2 for n in many)
