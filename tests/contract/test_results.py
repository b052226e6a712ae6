"""Figures of a run: keys of results.json and metrics.jsonl, and what the figures are."""

import json
import math
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, succeed, write_jsonl
from conftest import make_rows
from rouge_score.rouge_scorer import RougeScorer
from small_runs import Settings, results_of, small_run

from hierbert import HierBert

ALWAYS = {
    "split", "documents", "seed", "epochs", "steps", "best_step", "nonfinite_steps", "scores",
    "validation", "lengths", "length_histogram", "slices", "resources", "seconds", "environment",
}  # fmt: skip
OF_LABELS = {"per_label", "intervals", "label_counts", "reliability"}
OF_ONE = {"calibration", "risk_coverage"}
OF_SUMMARIES = {"budget", "summaries", "picks", "sentence_members"}
UNSURE = {"log_loss", "ece", "aurc"}
SINGLE = UNSURE | {"accuracy", "macro_f1", "micro_f1", "weighted_f1", "classification_loss", "loss"}
MULTI = {
    "subset_accuracy", "macro_f1", "micro_f1", "weighted_f1", "samples_f1", "map",
    "log_loss", "ece", "classification_loss", "loss",
}  # fmt: skip
REGRESSION = {"mse", "mae", "r2", "pearson", "spearman", "classification_loss", "loss"}
SUMMARIES = {"rouge1", "rouge2", "rougeL", "rougeLsum", "summarization_loss", "loss"}
TRAIN = {
    "loss", "classification_loss", "summarization_loss", "gradient_norm", "nonfinite_steps",
    "learning_rate",
}  # fmt: skip
LENGTHS = {"documents", "median_tokens", "p90_tokens", "longest_tokens", "tokens"}


# What was scored, of each kind of run.
SPLIT = dict.fromkeys(("single", "multi_label", "regression", "both"), "test")
SPLIT["summaries"] = "validation"


@dataclass
class Run:
    """One run of a kind of task: where it is, what it left, and its answers to the test rows."""

    folder: Path
    results: dict[str, Any]
    metrics: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    rows: list[dict[str, Any]]


def relabelled(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The rows with labels of another type, decided by the same words."""
    for number, row in enumerate(rows):
        law = row["label"] == "law"
        if kind == "multi_label":
            row["label"] = [["x", "z"], ["y"], ["x"], []][number % 4] if law else ["y"]
        elif kind == "regression":
            row["label"] = 100.0 + 10 * law + number
    return rows


# What is fitted to words, and what knows the labels alone.
LEARNT = {"members", "majority", "tfidf_svm", "tfidf_logistic", "gain"}
# What is fitted to the vectors of a frozen encoder.
OF_VECTORS = {"mean_vectors", "first_512_tokens", "head_and_tail", "segment_vote"}
KINDS = {
    "single": ["training.freeze_encoder=true", "baselines=true"],
    "multi_label": ["data.label_type=multi_label", "baselines=true"],
    "regression": ["data.label_type=regression", "baselines=true"],
    "summaries": ["data.label_column=null", "data.summary_column=summary", "data.test="],
    "both": [
        "data.summary_column=summary",
        "baselines=true",
        "summary.max_words=20",
        "training.classification_loss_weight=0.25",
        "training.summarization_loss_weight=3",
        "training.eval_every_steps=1",
    ],
}


@pytest.fixture(scope="module")
def runs(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of each kind of task, with answers of the command line to its test documents."""
    made = {}
    for kind, more in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        settings: Settings = small_run(folder, encoders["bert"])
        for name in ("train", "validation", "test"):
            path = folder / f"{name}.jsonl"
            write_jsonl(path, relabelled(read_jsonl(path), kind))
        succeed("train.py", *settings(*more), here=True)
        asked = ["--model", folder / "run/model", "--input", folder / "test.jsonl"]
        succeed("infer.py", *asked, "--output", folder / "answers.jsonl", here=True)
        made[kind] = Run(
            folder / "run",
            results_of(folder / "run"),
            read_jsonl(folder / "run/metrics.jsonl"),
            read_jsonl(folder / "answers.jsonl"),
            read_jsonl(folder / "test.jsonl"),
        )
    return made


@pytest.mark.parametrize(
    ("kind", "keys", "scores"),
    [
        ("single", OF_LABELS | OF_ONE | LEARNT | OF_VECTORS, SINGLE),
        ("multi_label", OF_LABELS | LEARNT | {"calibration", "precision_recall"}, MULTI),
        ("regression", {"intervals", "label_counts", "majority", "gain"}, REGRESSION),
        ("summaries", OF_SUMMARIES, SUMMARIES),
        (
            "both",
            OF_LABELS | OF_SUMMARIES | OF_ONE | LEARNT | {"evidence_places"},
            SINGLE | SUMMARIES,
        ),
    ],
)
def test_keys_of_results_and_metrics(runs, kind, keys, scores) -> None:
    made = runs[kind]
    assert made.results.keys() == ALWAYS | keys
    assert made.results["scores"].keys() == made.results["validation"].keys() == scores
    # The loss of a task that is not there is a column too.
    expected = {"step", "epoch", "best"} | {f"train.{name}" for name in TRAIN}
    expected |= {f"validation.{name}" for name in scores}
    if "training.freeze_encoder=true" not in KINDS[kind]:
        expected.add("train.encoder_learning_rate")
    for line in made.metrics:
        assert line.keys() == expected
    assert json.dumps(made.results, allow_nan=False)


def test_what_lies_inside_the_results(runs) -> None:
    results = runs["both"].results
    assert results["split"] == "test" and results["documents"] == 5
    assert results["seed"] == 0 and results["epochs"] == 2 and results["steps"] == 6
    assert results["nonfinite_steps"] == 0
    assert results["budget"] == {"name": "max_words", "limit": 20}
    systems = ["Random", "Lead", "Tail", "Lead + tail", "TextRank", "LexRank", "Centroid + MMR"]
    # Their encoder has learnt from the training documents: nothing is fitted to its vectors.
    systems += ["Position prior", "Words", "hierbert", "Oracle"]
    assert list(results["summaries"]["systems"]) == systems
    assert results["summaries"]["gain"].keys() == set(systems) - {"hierbert"}
    for gain in results["summaries"]["gain"].values():
        assert gain.keys() == {"mean", "low", "high", "p"}
    for scores in results["summaries"]["systems"].values():
        assert list(scores) == ["rouge1", "rouge2", "rougeL", "rougeLsum"]
        assert all(score["low"] <= score["mean"] <= score["high"] for score in scores.values())
    assert results["calibration"].keys() == {"temperature", "documents", "before", "after"}
    assert results["calibration"]["documents"] == 4
    assert results["calibration"]["after"] <= results["calibration"]["before"]
    assert results["intervals"].keys() == {"accuracy", "macro_f1"}
    assert results["majority"].keys() == SINGLE - UNSURE - {"classification_loss", "loss"}
    assert list(results["lengths"]) == ["train", "validation", "test"]
    for lengths in results["lengths"].values():
        assert lengths.keys() == LENGTHS
        assert lengths["median_tokens"] <= lengths["p90_tokens"] <= lengths["longest_tokens"]
    assert results["label_counts"] == {"film": 5, "law": 6}
    assert results["environment"].keys() == {"hierbert", "python", "torch", "transformers"}
    assert {
        "device", "processes", "threads", "encoding_tokens_per_second", "training_seconds",
        "peak_memory_mib",
    } <= results["resources"].keys()  # fmt: skip


def test_answers_of_all_systems_are_kept_for_each_document(runs) -> None:
    for kind, made in runs.items():
        rows = read_jsonl(made.folder / "answers.jsonl")
        own = [row.get("classification", {}) for row in rows]
        assert len(rows) == made.results["documents"] and "by_document" not in made.results
        assert sum(row["tokens"] for row in rows) == made.results["lengths"][SPLIT[kind]]["tokens"]
        if kind == "summaries":
            assert own == [{}] * len(rows)
        else:
            assert [row["id"] for row in rows] == [row["id"] for row in made.rows]
            hashes = [blake2b(row["text"].encode(), digest_size=8).hexdigest() for row in made.rows]
            assert [row["text_hash"] for row in rows] == hashes
            given = [row.get("label", row.get("labels")) for row in made.answers]
            expected = given if kind != "regression" else pytest.approx(given, rel=1e-4)
            assert [row["hierbert"] for row in own] == expected
            assert [row["true"] for row in own] == [row["label"] for row in made.rows]
        if "summaries" in made.results:
            kept = [row["summarization"]["hierbert"] for row in rows]
            mean = made.results["summaries"]["systems"]["hierbert"]["rouge1"]["mean"]
            assert sum(kept) / len(kept) == pytest.approx(mean)
    both, folder = runs["both"].results, runs["both"].folder
    for row in read_jsonl(folder / "answers.jsonl"):
        assert row["classification"].keys() == {"true", "hierbert", *both["gain"]}
        assert row["summarization"].keys() == both["summaries"]["systems"].keys()
    for name, gain in both["gain"].items():
        less = both["scores"]["accuracy"] - both[name]["accuracy"]
        assert gain["accuracy"]["mean"] == pytest.approx(less)


def test_rates_are_of_work_that_the_encoder_did(runs) -> None:
    for kind, reads_vectors in (("single", True), ("both", False)):
        resources = runs[kind].results["resources"]
        names = [f"{name}_tokens_per_second" for name in ("training", "scoring")]
        assert all((name in resources) is not reads_vectors for name in names), kind
        assert (resources["encoding_tokens_per_second"] is not None) is reads_vectors


@pytest.mark.parametrize("kind", ["single", "multi_label", "regression", "both"])
def test_scores_by_where_the_evidence_lies_are_those_of_the_evidence(kind, runs) -> None:
    made = runs[kind]
    model = HierBert.from_pretrained(made.folder / "model")
    texts = [row["text"] for row in made.rows]
    answers = model.classify(texts, evidence=True, evidence_count=100)
    expected: dict[str, list[float]] = {}
    for row, answer in zip(made.rows, answers, strict=True):
        thirds = Counter[int]()
        for one in answer.evidence:
            strength = abs if kind == "regression" else float
            own = max(one["segments"], key=lambda it: strength(it["contribution"]), default=None)
            if own is not None and strength(own["contribution"]) > 0:
                thirds[min(2, 3 * (own["start"] + own["end"]) // (2 * len(row["text"])))] += 1
        most = [third for third, count in thirds.items() if count == max(thirds.values())]
        parts = ("first third", "middle third", "last third", "no one of them")
        if most:
            error = 0.0 if kind == "multi_label" else answer.label != row["label"]
            if kind == "regression":
                error = (answer.label - row["label"]) ** 2
            expected.setdefault(parts[most[0] if len(most) == 1 else 3], []).append(error)
    found = made.results["slices"]["evidence"]["classification"]
    assert {row["part"]: row["documents"] for row in found} == {
        part: len(errors) for part, errors in expected.items()
    }
    for row in found:
        mean = sum(expected[row["part"]]) / row["documents"]
        if kind == "regression":
            assert row["scores"]["mse"] == pytest.approx(mean, rel=1e-3)
        elif kind != "multi_label":
            assert row["scores"]["accuracy"] == pytest.approx(1 - mean)
        assert "rouge1" not in row["scores"]
    assert any(len(answer.evidence[0]["segments"]) > 1 for answer in answers if answer.evidence)


def test_without_test_documents_the_validation_is_reported(runs) -> None:
    results = runs["summaries"].results
    assert results["split"] == "validation" and list(results["lengths"]) == ["train", "validation"]
    # What steps have left in the model, and what it says with what was fitted beside it.
    assert results["validation"]["summarization_loss"] > results["scores"]["summarization_loss"]


def test_scores_of_labels_are_those_of_the_rows_that_infer_writes(runs) -> None:
    for kind in ("single", "both"):
        made = runs[kind]
        true = [row["label"] for row in made.rows]
        given = [row["label"] for row in made.answers]
        right = [a == b for a, b in zip(true, given, strict=True)]
        assert made.results["scores"]["accuracy"] == pytest.approx(sum(right) / len(right))
        table = {row["label"]: row for row in made.results["per_label"]["labels"]}
        assert list(table) == ["film", "law"]
        for label, row in table.items():
            assert row["support"] == true.count(label)
            assert row["predicted"] == given.count(label)
        pairs = list(zip(true, given, strict=True))
        confusion = [[pairs.count((a, b)) for b in table] for a in table]
        assert made.results["per_label"]["confusion"] == confusion


def test_what_is_said_of_trust_is_of_the_rows_that_infer_writes(runs) -> None:
    made = runs["single"]
    scores, curve = made.results["scores"], made.results["risk_coverage"]
    surest = sorted(
        (-max(answer["probabilities"].values()), answer["label"] != row["label"])
        for row, answer in zip(made.rows, made.answers, strict=True)
    )
    count = len(surest)
    risks = [sum(wrong for _, wrong in surest[:n]) / n for n in range(1, count + 1)]
    assert scores["aurc"] == pytest.approx(sum(risks) / count) == curve["area"]
    assert [point["risk"] for point in curve["points"]] == pytest.approx(risks)
    assert [point["coverage"] for point in curve["points"]] == pytest.approx(
        [n / count for n in range(1, count + 1)]
    )
    assert [point["confidence"] for point in curve["points"]] == pytest.approx(
        [-share for share, _ in surest], abs=1e-5
    )
    likely = [
        answer["probabilities"][row["label"]]
        for row, answer in zip(made.rows, made.answers, strict=True)
    ]
    assert scores["log_loss"] == pytest.approx(-sum(map(math.log, likely)) / count, abs=1e-5)
    bins: dict[int, list[float]] = {}
    for share, wrong in surest:
        bins.setdefault(math.ceil(-share * 15), []).append(-share - (not wrong))
    assert scores["ece"] == pytest.approx(sum(abs(sum(b)) for b in bins.values()) / count, abs=1e-5)


def test_scores_of_sets_and_numbers_are_those_of_the_rows_that_infer_writes(runs) -> None:
    made = runs["multi_label"]
    same = [
        set(row["label"]) == set(answer["labels"])
        for row, answer in zip(made.rows, made.answers, strict=True)
    ]
    assert made.results["scores"]["subset_accuracy"] == pytest.approx(sum(same) / len(same))
    assert made.answers[0]["probabilities"].keys() == {"x", "y", "z"}
    # By the thresholds that were tuned.
    config = json.loads((made.folder / "model/config.json").read_text())
    told = made.results["calibration"]["thresholds"]
    assert list(told["labels"].values()) == config["decision_thresholds"]
    assert told["overall"] == config["decision_threshold"] and told["metric"] == "micro_f1"
    for answer in made.answers:
        shares = answer["probabilities"]
        reached = {name for name, least in told["labels"].items() if shares[name] >= least}
        assert set(answer["labels"]) == reached
    made = runs["regression"]
    errors = [
        answer["label"] - row["label"] for row, answer in zip(made.rows, made.answers, strict=True)
    ]
    expected = {
        "mse": sum(error**2 for error in errors) / len(errors),
        "mae": sum(map(abs, errors)) / len(errors),
    }
    for name, value in expected.items():
        assert made.results["scores"][name] == pytest.approx(value, rel=1e-4)


def test_scores_of_summaries_are_those_of_the_rows_that_infer_writes(runs) -> None:
    made = runs["both"]
    scorer = RougeScorer(["rouge1", "rougeLsum"], use_stemmer=True)
    found = [
        scorer.score(row["summary"], answer["summary"])
        for row, answer in zip(made.rows, made.answers, strict=True)
    ]
    for name in ("rouge1", "rougeLsum"):
        mean = sum(scores[name].fmeasure for scores in found) / len(found)
        assert made.results["scores"][name] == pytest.approx(mean)
        assert made.results["summaries"]["systems"]["hierbert"][name]["mean"] == pytest.approx(mean)
    for answer in made.answers:
        assert len(answer["summary"].split()) <= 20


def test_the_loss_is_the_weighted_sum_of_both(runs) -> None:
    results = runs["both"].results
    for scores in (results["scores"], results["validation"]):
        expected = 0.25 * scores["classification_loss"] + 3 * scores["summarization_loss"]
        assert scores["loss"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "metric", "sign"),
    [
        ("single", ["macro_f1"], 1),
        ("multi_label", ["map"], 1),
        ("regression", ["mse"], -1),
        ("summaries", ["rouge1"], 1),
        ("both", ["macro_f1", "rouge1"], 1),
    ],
)
def test_the_best_weights_are_those_of_the_best_validation(runs, kind, metric, sign) -> None:
    made = runs[kind]
    ranks = [
        (sign * sum(line[f"validation.{name}"] for name in metric), -line["validation.loss"])
        for line in made.metrics
    ]
    best = made.metrics[ranks.index(max(ranks))]
    assert made.results["best_step"] == best["step"]
    assert [line["best"] for line in made.metrics] == [
        rank == max(ranks[: number + 1]) and rank not in ranks[:number]
        for number, rank in enumerate(ranks)
    ]
    assert made.results["validation"] == {
        name.removeprefix("validation."): value
        for name, value in best.items()
        if name.startswith("validation.")
    }


def test_a_line_of_metrics_for_each_evaluation(runs) -> None:
    assert [line["step"] for line in runs["single"].metrics] == [3, 6]
    assert [line["epoch"] for line in runs["single"].metrics] == [1.0, 2.0]
    assert [line["step"] for line in runs["both"].metrics] == [1, 2, 3, 4, 5, 6]
    # The last step of training has the rate 0.
    assert runs["both"].metrics[-1]["train.learning_rate"] == pytest.approx(0, abs=1e-9)


def test_a_regression_answers_in_the_unit_of_its_labels(runs) -> None:
    train = [row["label"] for row in relabelled(make_rows(11, seed=1), "regression")]
    for answer in runs["regression"].answers:
        assert min(train) - 30 < answer["label"] < max(train) + 30
        assert "probabilities" not in answer or answer["probabilities"] is None
