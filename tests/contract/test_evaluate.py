"""`hierbert evaluate` and `HierBert.evaluate`: figures of any model on any labelled documents."""

import csv
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows
from rouge_score.rouge_scorer import RougeScorer
from small_runs import content_of
from torch.nn.modules.module import register_module_forward_hook

from hierbert import HierBert, HierBertError

COMMAND = "hierbert-evaluate"
NAMES = ["art", "law", "a.b"]
# What depends on the clock or the caller.
CHANGING = {"seconds", "resources", "input", "train", "model"}


def labelled(kind: str, count: int = 24) -> list[dict[str, Any]]:
    """Documents with labels drawn at random, some without, of several lengths."""
    chance = random.Random(5)
    rows = make_rows(count, seed=5, sentences=14)
    for number, row in enumerate(rows):
        row["label"] = chance.choice(NAMES)
        row["source"] = ["mail", "web", "mail", f"rare {number}", None, "web", "mail"][number % 7]
        if kind == "many":
            row["label"] = chance.sample(NAMES, chance.randrange(3))
        elif kind == "number":
            row["label"] = chance.gauss(0, 1)
        if number % 6 == 5:
            row["label"] = None
    return rows


def evaluated(model: Path, path: Path, *more: str | Path) -> tuple[dict[str, Any], str]:
    """What the command writes and prints."""
    output = path.with_suffix(".evaluated")
    arguments = ["--model", model, "--input", path, "--output", output, "--report", "none", *more]
    done = succeed(COMMAND, *arguments, here=True)
    assert {one.name for one in output.iterdir()} == {"answers.jsonl", "results.json"}
    assert max(map(len, done.stdout.splitlines())) <= 79
    assert "\\x" not in done.stderr
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    # A baseline that is not there is named.
    needs_training = results.get("majority") is None and "per_label" in results
    if needs_training and "confusion" in results["per_label"] and "--no-baselines" not in more:
        assert "without training documents (train): Majority class" in done.stderr
    return results, done.stdout


def answers_of(model: Path, path: Path) -> list[dict[str, Any]]:
    output = path.with_suffix(".answers.jsonl")
    succeed("infer.py", "--model", model, "--input", path, "--output", output, here=True)
    return read_jsonl(output)


def accuracy(pairs: list[tuple[Any, Any]]) -> float:
    return sum(true == given for true, given in pairs) / len(pairs)


def test_a_run_s_test_documents_have_the_figures_of_the_run(trained, tmp_path) -> None:
    run_folder, data = trained.parent, trained.parents[1]
    before = content_of(run_folder)
    more = ["--output", tmp_path / "new/out", "--no-baselines", "--summary-column", "summary"]
    succeed(COMMAND, "--model", trained, "--input", data / "test.jsonl", *more, here=True)
    assert content_of(run_folder) == before
    results = json.loads((tmp_path / "new/out/results.json").read_text())
    expected = json.loads((run_folder / "results.json").read_text())
    assert results["scores"] == pytest.approx(expected["scores"], abs=1e-6)
    same = ["per_label", "intervals", "budget", "summaries", "documents", "environment"]
    assert {name: results[name] for name in same} == {name: expected[name] for name in same}
    assert results["lengths"]["input"] == expected["lengths"]["test"]
    assert results["model"]["source"] == str(trained)
    assert "label_counts" not in results and "majority" not in results


def test_labels_are_scored_as_infer_answers_them_and_by_slices(models, tmp_path) -> None:
    rows = labelled("both")
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    train = write_jsonl(tmp_path / "train.jsonl", [{**r, "id": f"t{r['id']}"} for r in rows[:9]])
    results, printed = evaluated(
        models["both"], docs, "--summary-column", "", "--by", "source", "--train", train
    )
    given = [answer["label"] for answer in answers_of(models["both"], docs)]
    known = [
        (row, (row["label"], label))
        for row, label in zip(rows, given, strict=True)
        if row["label"] is not None
    ]
    pairs = [pair for _, pair in known]
    assert results["documents"] == 24 and len(pairs) == 20
    assert results["scores"]["accuracy"] == pytest.approx(accuracy(pairs))
    ends = results["intervals"]["accuracy"]
    assert ends["low"] <= accuracy(pairs) <= ends["high"] and ends["low"] < ends["high"]
    true = Counter(a for a, _ in pairs)
    assert {row["label"]: row["support"] for row in results["per_label"]["labels"]} == {
        name: true[name] for name in NAMES
    }
    learnt = Counter(row["label"] for row in rows[:9] if row["label"] is not None)
    assert results["label_counts"] == {name: learnt[name] for name in NAMES}
    (common, most), (_, next_most), *_ = learnt.most_common()
    assert most > next_most  # or the first seen would be the majority
    assert results["majority"]["accuracy"] == pytest.approx(true[common] / len(pairs))

    groups: dict[Any, list[tuple[Any, Any]]] = {}
    for row, pair in known:
        source = row["source"]
        groups.setdefault("rare" if source and source[:4] == "rare" else source, []).append(pair)
    found = {row.get("value", "rare"): row for row in results["slices"]["columns"]["source"]}
    assert found.keys() == groups.keys() == {"mail", "web", None, "rare"}
    assert found["rare"]["rare_values"] == found["rare"]["documents"]
    for value, group in groups.items():
        assert found[value]["documents"] == len(group)
        assert found[value]["scores"]["accuracy"] == pytest.approx(accuracy(group))
        assert ("accuracy" in found[value]["intervals"]) is (len(group) >= 5)
        if len(group) < 5:
            continue
        ends = found[value]["intervals"]["accuracy"]
        # Right and wrong answers are drawn both, if there are both.
        some = 0 < accuracy(group) < 1
        assert (
            ends["low"] <= accuracy(group) <= ends["high"] and (ends["low"] < ends["high"]) is some
        )
    lengths = results["slices"]["length"]
    assert sum(row["documents"] for row in lengths) == 20
    assert f"{100 * accuracy(pairs):.1f}" in printed
    (table,) = [part for part in printed.split("\n\n") if "by source" in part]
    assert re.search(r"\n  mail +\d+ +\d+\.\d \[\d+, \d+\] +\d+\.\d\n", table)
    gain = accuracy(pairs) - results["majority"]["accuracy"]
    assert results["gain"]["majority"]["accuracy"]["mean"] == pytest.approx(gain)
    least = min(own["accuracy"]["mean"] for own in results["gain"].values())
    assert re.search(rf"Accuracy over [^:]+: \{100 * least:+.1f} \[", printed)
    assert all(name in printed for name in ("Majority class", "mail", "rare values", "source"))


def test_python_and_the_command_give_the_same(models, tmp_path) -> None:
    rows = labelled("both")
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    results, printed = evaluated(models["both"], docs, "--by", "source", "--seed", "3")
    made = HierBert.from_pretrained(models["both"]).evaluate(rows, by="source", seed=3)
    assert isinstance(made, dict) and made == made.results["scores"] == results["scores"]
    assert made.report in printed and "summarization" not in results
    for name in results.keys() | made.results.keys():
        if name not in CHANGING:
            assert made.results[name] == results[name], name
    assert made.results["input"] is None and results["input"] == [str(docs)]
    assert made.results["summaries"]["systems"].keys() >= {"Lead", "TextRank", "Oracle"}
    plain = HierBert.from_pretrained(models["both"]).evaluate(rows, baselines=False)
    assert plain.results["summaries"]["systems"].keys() == {"hierbert"}


def test_several_labels_of_a_csv_are_split(models, tmp_path) -> None:
    rows = labelled("many")
    docs = tmp_path / "docs.csv"
    with docs.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "body", "topics"], extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            topics = ";".join(row["label"] or [])
            writer.writerow({"id": row["id"], "body": row["text"], "topics": topics})
    columns = ["--text-column", "body", "--label-column", "topics"]
    results, _ = evaluated(models["many"], docs, *columns, "--label-separator", ";")
    texts = write_jsonl(tmp_path / "texts.jsonl", rows)
    answers = answers_of(models["many"], texts)
    hits = given = true = exact = count = 0
    for row, answer in zip(rows, answers, strict=True):
        if row["label"]:  # a blank cell says nothing
            a, b = set(row["label"]), set(answer["labels"])
            hits, given, true = hits + len(a & b), given + len(b), true + len(a)
            exact, count = exact + (a == b), count + 1
    assert results["scores"]["micro_f1"] == pytest.approx(2 * hits / (given + true))
    assert results["scores"]["subset_accuracy"] == pytest.approx(exact / count)

    none = sum(not row["label"] for row in rows)
    right = sum(
        not answer["labels"] for row, answer in zip(rows, answers, strict=True) if not row["label"]
    )
    results, _ = evaluated(
        models["many"],
        docs,
        *columns,
        "--label-separator",
        ";",
        "--empty-label",
        "none",
        "--overwrite",
    )
    assert results["scores"]["subset_accuracy"] == pytest.approx((exact + right) / (count + none))

    flags = write_jsonl(
        tmp_path / "flags.jsonl",
        [
            {"id": row["id"], "text": row["text"]}
            | {name: int(name in row["label"]) for name in NAMES}
            for row in rows
            if row["label"]
        ],
    )
    results, _ = evaluated(models["many"], flags, "--label-column", *NAMES)
    assert results["scores"]["subset_accuracy"] == pytest.approx(exact / count)

    arguments = ["--model", models["many"], "--input", docs, *columns]
    error = refuse(COMMAND, *arguments, here=True)
    assert "docs.csv, row " in error and "'topics'" in error and "--label-separator to ';'" in error
    # That is no label which documents could be left out for.
    assert refuse(COMMAND, *arguments, "--unknown-labels", "leave-out", here=True) == error


def test_numbers_are_scored_as_infer_answers_them(models, tmp_path) -> None:
    rows = labelled("number")
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    train = write_jsonl(tmp_path / "train.jsonl", [{**rows[0], "id": "t"}])
    results, printed = evaluated(models["number"], docs, "--train", train)
    answers = answers_of(models["number"], docs)
    pairs = [(r["label"], a["label"]) for r, a in zip(rows, answers, strict=True)]
    errors = [abs(a - b) for a, b in pairs if a is not None]
    assert results["scores"]["mae"] == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    away = [abs(a - rows[0]["label"]) for a, _ in pairs if a is not None]
    assert results["majority"]["mae"] == pytest.approx(sum(away) / len(away), rel=1e-5)
    assert "per_label" not in results and "Mean absolute error" in printed


def test_summaries_are_scored_as_infer_gives_them(models, tmp_path) -> None:
    rows = make_rows(6, seed=8)
    rows[2]["summary"] = None
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    train = write_jsonl(tmp_path / "train.jsonl", make_rows(6, seed=9))
    results, printed = evaluated(models["summaries"], docs, "--train", train)
    scorer = RougeScorer(["rouge1", "rougeLsum"], use_stemmer=True)
    found = [
        scorer.score(row["summary"], answer["summary"])
        for row, answer in zip(rows, answers_of(models["summaries"], docs), strict=True)
        if row["summary"]
    ]
    for name in ("rouge1", "rougeLsum"):
        mean = sum(one[name].fmeasure for one in found) / 5
        assert results["scores"][name] == pytest.approx(mean)
        assert results["summaries"]["systems"]["hierbert"][name]["mean"] == pytest.approx(mean)
    learnt = ("Position prior", "Words")
    assert all(name in printed for name in (*learnt, "LexRank", "Oracle", "ROUGE-Lsum"))


@pytest.mark.parametrize("kind", ["both", "many", "number"])
def test_one_document_is_enough(models, tmp_path, kind) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", [labelled(kind)[0]])
    results, _ = evaluated(models[kind], docs)
    assert results["documents"] == 1 and json.dumps(results, allow_nan=False)


def test_documents_with_other_labels_are_left_out_when_that_is_asked(models, tmp_path) -> None:
    rows = labelled("both")
    other = [{**row, "id": f"o{row['id']}", "label": "lwa"} for row in rows[:3]]
    docs = write_jsonl(tmp_path / "docs.jsonl", [*rows, *other])
    arguments = ["--model", models["both"], "--input", docs, "--summary-column", ""]
    error = refuse(COMMAND, *arguments, here=True)
    assert "docs.jsonl, line 25" in error and "'lwa'" in error and "did you mean 'law'" in error
    assert all(repr(name) in error for name in NAMES)
    results, _ = evaluated(
        models["both"], docs, "--summary-column", "", "--unknown-labels", "leave-out"
    )
    assert (results["documents"], results["left_out"]) == (24, 3)
    alone = HierBert.from_pretrained(models["both"]).evaluate(rows, summary_column=None)
    assert results["scores"] == pytest.approx(dict(alone))
    write_jsonl(docs, other)
    error = refuse(COMMAND, *arguments, "--unknown-labels", "leave-out", here=True)
    assert "no document" in error and "3" in error


WRONG: list[tuple[str, list[dict[str, Any]], list[str], list[str]]] = [
    ("both", [{"text": "x", "summary": "x"}], [], ["'label'", "--label-column", "''"]),
    ("both", [{"text": "x", "label": "law"}], [], ["'summary'", "--summary-column", "''"]),
    ("both", [{"text": "x", "label": None}], ["--summary-column", ""], ["no document", "--label"]),
    ("both", [{"id": "a", "text": "x", "label": "law"}] * 2, ["--summary-column="], ["'a' occurs"]),
    ("both", [{"text": "x", "label": ["law"]}], ["--summary-column="], ["list", "one label"]),
    ("both", [{"text": "x", "label": "law"}], ["--summary-column=", "--by", "z"], ["'z'", "--by"]),
    ("both", [{"text": "x", "label": "law"}], ["--label-separator", ";"], ["multi_label", "';'"]),
    ("both", [{"text": "x", "label": "law"}], ["--label-column", "", "--summary-column", ""], [""]),
    ("both", [{"text": "x", "label": "law"}], ["--empty-label=none"], ["--empty-label", "single"]),
    ("both", [], [], ["docs.jsonl", "no rows"]),
    ("number", [{"text": "x", "label": "law"}], [], ["'law'", "finite numbers"]),
    (
        "summaries",
        [{"text": "x", "summary": "x"}],
        ["--train", "docs.jsonl", "--no-baselines"],
        ["--train"],
    ),
    ("summaries", [{"text": "x", "summary": "x"}], ["--label-separator=;"], ["--label-separator"]),
    ("summaries", [{"text": "x", "summary": "x"}], ["--empty-label=none"], ["--empty-label"]),
    ("summaries", [{"text": "x", "summary": "x"}], ["--overwrite"], ["--output"]),
    ("summaries", [{"text": "x", "summary": "x"}], ["--seed", "-1"], ["--seed", "'-1'"]),
    ("summaries", [{"text": "x", "summary": "x"}], ["--column", "a"], ["--column a", "FIELD=NAME"]),
    ("summaries", [{"text": "x", "summary": "x"}], ["--column", "a=b"], ["'a'"]),
]  # fmt: skip


def test_what_cannot_be_scored_is_one_line_and_leaves_nothing(models, tmp_path) -> None:
    for kind, rows, more, named in WRONG:
        docs = write_jsonl(tmp_path / "docs.jsonl", rows)
        more = [str(docs) if word == "docs.jsonl" else word for word in more]
        more += [] if "--overwrite" in more else ["--output", str(tmp_path / "out")]
        error = refuse(COMMAND, "--model", models[kind], "--input", docs, *more, here=True)
        assert all(name in error for name in named), (error, named)
        assert "data." not in error and "--documents" not in error and "--keep" not in error, error
        assert not (tmp_path / "out").exists()


def test_inputs_and_outputs_that_are_none_are_named(models, trained, tmp_path) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", make_rows(3))
    start = [COMMAND, "--model", models["summaries"], "--input"]
    assert "--input" in refuse(*start, tmp_path / "missing.jsonl", here=True)
    several = refuse(*start, f"{docs},{docs}", here=True)
    assert f"--input {docs} {docs}" in several
    before = content_of(trained.parent)
    for output, named in ((trained.parent, "checkpoints"), (trained, "such as")):
        error = refuse(*start, docs, "--output", output, "--overwrite", here=True)
        assert "--output" in error and named in error
    assert content_of(trained.parent) == before
    assert "--output" in refuse(*start, docs, "--output", docs, here=True)
    succeed(*start, docs, "--output", tmp_path / "out", "--no-baselines", here=True)
    error = refuse(*start, docs, "--output", tmp_path / "out", here=True)
    assert "--overwrite" in error
    succeed(*start, docs, "--output", tmp_path / "out", "--overwrite", here=True)
    assert "Lead" in (tmp_path / "out/results.json").read_text()
    # Answers without results are perhaps those of a job.
    (tmp_path / "out/results.json").unlink()
    error = refuse(*start, docs, "--output", tmp_path / "out", "--overwrite", here=True)
    assert "answers.jsonl" in error and (tmp_path / "out/answers.jsonl").exists()


@pytest.fixture
def default_handlers() -> Iterator[None]:
    """As in a terminal, wherever the tests run: in the background of a shell SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_leaves_nothing(
    models, tmp_path, default_handlers, number, code
) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", make_rows(40))
    steps = itertools.count()

    def hook(*_: Any) -> None:
        if next(steps) == 200:
            signal.raise_signal(number)

    handle = register_module_forward_hook(hook)
    try:
        arguments = ["--model", models["summaries"], "--input", docs, "--output", tmp_path / "out"]
        done = run(COMMAND, *arguments, here=True)
    finally:
        handle.remove()
    assert done.returncode == code and "Traceback" not in done.stderr and done.stdout == ""
    assert next(steps) > 200 and not (tmp_path / "out").exists()


def test_answers_that_are_not_finite_are_refused_by_name(models) -> None:
    model = HierBert.from_pretrained(models["number"])
    for weight in model.model.parameters():
        weight.data.fill_(3e38)
    with pytest.raises(HierBertError, match=r"mse.*not finite.*'here'") as caught:
        model.evaluate([{"id": "here", "text": "the law", "label": 1.0}])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_two_processes_and_a_cache_give_the_same(models, tmp_path) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", labelled("both"))
    alone, _ = evaluated(models["both"], docs, "--no-baselines")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launch += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m", "hierbert"]
    launch += ["evaluate", "--model", models["both"], "--input", docs, "--no-baselines"]
    launch += ["--output", tmp_path / "out", "--cache-dir", tmp_path / "cache"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    for more in ([], ["--overwrite"]):
        words = [str(word) for word in [*launch, *more]]
        done = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("Classification by") == done.stdout.count("Summarization by") == 0
        results = json.loads((tmp_path / "out/results.json").read_text())
        assert results["resources"]["processes"] == 2
        assert results["scores"] == pytest.approx(alone["scores"], abs=1e-5)
        assert results["per_label"] == alone["per_label"]
