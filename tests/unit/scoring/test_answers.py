"""Answers out of answers.jsonl, and differences on the same documents."""

from typing import Any

import numpy as np
import pytest

from hierbert.scoring.answers import difference_of, task_answers, text_hash


def rows(task: str, given: list[Any], true: list[Any] | None = None, first: int = 0) -> list[dict]:
    """Rows of answers.jsonl, their documents numbered."""
    made = []
    for place, answer in enumerate(given):
        own = {"hierbert": answer} if true is None else {"true": true[place], "hierbert": answer}
        made.append({"id": f"d{first + place}", "tokens": 9, task: own})
    return made


def test_a_difference_of_scores_is_that_of_numpy_on_the_documents_of_both() -> None:
    chance = np.random.default_rng(1)
    one, other = chance.random(40), chance.random(40)
    first = task_answers(rows("summarization", one.tolist()))["summarization"]
    second = task_answers(rows("summarization", other.tolist(), first=10))["summarization"]
    found, count = difference_of(first, second, 3)
    gaps = one[10:] - other[:30]
    assert count == 30
    drawn = np.random.default_rng(3).integers(0, 30, (1000, 30))
    means = np.array([gaps[row].mean() for row in drawn])
    assert found["score"]["mean"] == pytest.approx(gaps.mean())
    assert found["score"]["low"] == pytest.approx(np.quantile(means, 0.025))
    assert found["score"]["high"] == pytest.approx(np.quantile(means, 0.975))


def test_a_difference_of_labels_is_that_of_their_accuracies() -> None:
    true = ["a", "b", "c", "a", "b", "a"]
    one = task_answers(rows("x", ["a", "b", "c", "a", "b", "b"], true))["x"]
    other = task_answers(rows("x", ["a", "a", "a", "a", "b", "a"], true))["x"]
    found, count = difference_of(one, other, 0)
    assert one.kind == "single_label" and count == 6
    assert found["accuracy"]["mean"] == pytest.approx(5 / 6 - 4 / 6)
    same, _ = difference_of(one, one, 0)
    assert same["accuracy"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_several_labels_and_numbers_are_told_by_what_is_true() -> None:
    lists = [["a"], [], ["a", "b"]]
    one = task_answers(rows("x", [["a"], ["b"], ["a"]], lists))["x"]
    other = task_answers(rows("x", [[], [], ["b", "a"]], lists))["x"]
    found, _ = difference_of(one, other, 0)
    # Of 3 true labels the first finds 2 with one wrong, the second 2 with none wrong.
    assert found["micro_f1"]["mean"] == pytest.approx(4 / 6 - 4 / 5)
    numbers = task_answers(rows("x", [1.0, 2.0], [1.5, 2.0]))["x"]
    assert numbers.kind == "regression"
    assert numbers.intervals(0)["hierbert"]["mae"] == {"low": 0.0, "high": 0.5}


def test_nodes_of_a_tree_have_its_metrics() -> None:
    paths = [["art", "jazz"], ["art"], ["law", "tax"]]
    given = [["art", "jazz"], ["art", "jazz"], ["art"]]
    answers = task_answers(rows("x", given, paths), in_tree=True)["x"]
    assert answers.kind == "tree"
    true_again = task_answers(rows("x", paths, paths), in_tree=True)["x"]
    found, count = difference_of(answers, true_again, 0)
    # Of 5 true nodes 3 are found, with 2 wrong ones.
    assert count == 3 and found["hf1"]["mean"] == pytest.approx(6 / 10 - 1)
    assert answers.intervals(0)["hierbert"].keys() >= {"hf1", "hf1_macro", "exact_path"}


def test_documents_of_one_id_are_told_apart_and_others_are_not_compared() -> None:
    twice = [*rows("x", [0.5, 0.25]), *rows("x", [1.0])]
    answers = task_answers(twice)["x"]
    same = task_answers([*rows("x", [0.25]), *rows("x", [0.5])])["x"]
    # The second "d0" is held against the second: 1 less 0.5, beside 0.5 less 0.25.
    found, count = difference_of(answers, same, 0)
    assert count == 2 and found["score"]["mean"] == pytest.approx(0.375)
    assert difference_of(answers, task_answers(rows("x", [0.1], first=7))["x"], 0) == ({}, 0)
    # Of another truth it is another document, whatever its id.
    one = task_answers(rows("x", ["a"], ["a"]))["x"]
    assert difference_of(one, task_answers(rows("x", ["a"], ["b"]))["x"], 0) == ({}, 0)


def test_documents_of_equal_ids_and_other_texts_are_not_the_same() -> None:
    def answers(*documents: tuple[str | None, int, float]):
        made = [
            {"id": "test-1", "tokens": tokens, "x": {"hierbert": score}}
            | ({} if text is None else {"text_hash": text_hash(text)})
            for text, tokens, score in documents
        ]
        return task_answers(made)["x"]

    one = answers(("a", 9, 0.5), ("b", 9, 1.0))
    # In another order, and cut into other tokens.
    found, count = difference_of(one, answers(("b", 7, 0.25), ("a", 7, 0.25)), 0)
    assert count == 2 and found["score"]["mean"] == pytest.approx(0.5)
    found, count = difference_of(one, answers(("c", 9, 0.0), ("b", 9, 0.25)), 0)
    assert count == 1 and found["score"]["mean"] == pytest.approx(0.75)
    assert difference_of(one, answers(("c", 9, 0.0)), 0) == ({}, 0)
    # Rows of earlier versions tell the tokens alone.
    assert difference_of(one, answers((None, 8, 0.0)), 0) == ({}, 0)
    found, count = difference_of(one, answers((None, 9, 0.0)), 0)
    assert count == 1 and found["score"]["mean"] == pytest.approx(0.5)


def test_the_hash_of_a_text_is_blake2b_of_its_utf_8() -> None:
    # From `printf 'Hé' | b2sum -l 64`.
    assert text_hash("H\u00e9") == "1a71a6ae33ba3156"
    assert len(text_hash("\ud800")) == 16


@pytest.mark.parametrize("row", [[], {"id": 1}, {"id": "a", "x": 3}, {"id": "a", "x": {"b": 1}}])
def test_rows_that_are_none_are_refused_by_their_line(row) -> None:
    with pytest.raises(ValueError, match="line 1"):
        task_answers([row])
