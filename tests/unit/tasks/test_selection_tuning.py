"""Options of a selection that are chosen on documents with a reference."""

import json

import pytest
from commands import succeed
from small_runs import results_of, small_run

from hierbert.model.selection import Budget
from hierbert.model.summarization_head import SummaryRule
from hierbert.tasks.selection_tuning import tune_selection


def test_a_value_is_taken_where_its_gain_is_sure_and_the_greatest() -> None:
    before = SummaryRule(Budget(max_words=9), min_words_per_sentence=5)
    # Points of a value over those of all documents; a knapsack helps one document alone.
    gains = {("min_words_per_sentence", 8): 0.1, ("min_words_per_sentence", 12): 0.2}
    gains |= {("redundancy", 0.3): -0.1}

    def score(rule: SummaryRule) -> list[float]:
        shift = sum(gains.get((name, getattr(rule, name)), 0.0) for name in vars(rule))
        one = 0.9 if rule.selection == "knapsack" else 0.0
        return [shift + 0.01 * place + one * (place == 0) for place in range(20)]

    rule, tried = tune_selection(before, score, seed=0)
    assert rule == SummaryRule(Budget(max_words=9), min_words_per_sentence=12)
    found = {(row["option"], row["value"]): (row["gain"], row["taken"]) for row in tried}
    assert found == {
        ("min_words_per_sentence", 0): (pytest.approx(0.0), False),
        ("min_words_per_sentence", 8): (pytest.approx(0.1), False),
        ("min_words_per_sentence", 12): (pytest.approx(0.2), True),
        ("min_words_per_sentence", 16): (pytest.approx(0.0), False),
        # The others are compared with what was taken.
        ("redundancy", 0.3): (pytest.approx(-0.1), False),
        ("redundancy", 0.5): (pytest.approx(0.0), False),
        ("redundancy", 0.7): (pytest.approx(0.0), False),
        ("selection", "knapsack"): (pytest.approx(0.9 / 20), False),
    }


@pytest.mark.slow
def test_a_run_tells_what_was_tried_and_its_model_answers_so(encoders, tmp_path) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    more = ["data.label_column=", "data.summary_column=summary", "summary.max_words=12"]
    done = succeed("train.py", *settings(*more, "summary.tune=true"), here=True)
    assert "of 8 others on 4 validation documents" in done.stderr
    results = results_of(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text(encoding="utf-8"))
    expected = {"min_words_per_sentence": 5, "redundancy": 0.0, "selection": "greedy"}
    expected |= {r["option"]: r["value"] for r in results["selection_tuning"] if r["taken"]}
    assert {name: config[f"summary_{name}"] for name in expected} == expected
