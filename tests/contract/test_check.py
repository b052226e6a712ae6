"""`hierbert check`, and what a run says of its documents when it begins."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows
from transformers import AutoTokenizer

COMMAND = "hierbert-check"
FIXTURES = ROOT / "tests" / "fixtures" / "check"
TASKS = ["data.label_column=label", "data.summary_column=summary"]
PLANTED: dict[str, list[str]] = json.loads((FIXTURES / "planted.json").read_text("utf-8"))
# Said of every corpus that is long, or is not, and with these vocabularies of some words.
OF_LENGTH = {"longer_than_512_tokens", "all_documents_are_short", "unknown_tokens"}


def settings(folder: Path, encoder: Path) -> list[str]:
    names = ("train", "validation", "test")
    return [f"model.encoder={encoder}", *(f"data.{n}={folder / n}.jsonl" for n in names)]


def checked(
    path: Path, *arguments: str | Path, code: int = 0
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], str]:
    """The report, its findings by name, and what is printed."""
    if not any(str(one).startswith("run_dir=") for one in arguments):
        arguments = (*arguments, f"run_dir={path.with_name('not-there')}")
    done = run(COMMAND, *arguments, "--json", path, here=True)
    assert done.returncode == code, done.stderr[-3000:] + done.stdout[-1000:]
    assert "Traceback" not in done.stderr
    report = json.loads(path.read_text("utf-8"))
    assert report["would_fail"] is (code == 3)
    return report, {one["name"]: one for one in report["findings"]}, done.stdout


@pytest.fixture(scope="module")
def found(encoders, tmp_path_factory) -> tuple[dict[str, Any], dict[str, dict[str, Any]], str]:
    path = tmp_path_factory.mktemp("check") / "found.json"
    return checked(path, *settings(FIXTURES / "faulty", encoders["bert"]), *TASKS, "--no-probe")


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_fault_is_found_where_it_is(found, name) -> None:
    _, findings, printed = found
    finding = findings[name]
    assert name in printed and (finding["advice"] in " ".join(printed.split()))
    if places := PLANTED[name]:
        assert finding["counts"]["documents"] == len(places)
        given = [example.split(" is ")[0] for example in finding["examples"]]
        assert {os.path.basename(place) for place in given} == set(places)


def test_nothing_else_is_found_and_the_gravest_comes_first(found) -> None:
    report, findings, printed = found
    assert findings.keys() - PLANTED.keys() <= OF_LENGTH
    order = [("error", "warning", "note").index(one["severity"]) for one in report["findings"]]
    assert order == sorted(order) and {1, 2} == set(order)
    assert "of_train_in" in report["findings"][0]["name"]
    assert max(map(len, printed.splitlines())) <= 79 or str(FIXTURES) in printed
    assert "\x1b" not in printed and "\u202e" not in printed


def test_a_clean_corpus_has_no_warning_and_its_figures_are_true(encoders, tmp_path) -> None:
    given = settings(FIXTURES / "clean", encoders["bert"])
    report, findings, printed = checked(tmp_path / "a.json", *given, *TASKS, "training.epochs=2")
    assert {one["severity"] for one in findings.values()} <= {"note"}
    assert findings.keys() <= OF_LENGTH
    assert report["documents"] == {"train": 60, "validation": 18, "test": 18}
    assert report["labels"]["garden"] == {"train": 20, "validation": 6, "test": 6}
    systems = report["baselines"]["classification"]["systems"]
    assert systems["Majority class"]["accuracy"] == pytest.approx(6 / 18)
    assert {"Lead", "Oracle"} <= report["baselines"]["summarization"]["systems"].keys()
    estimate, lengths = report["estimate"], report["lengths"]
    tokenizer = AutoTokenizer.from_pretrained(encoders["bert"])
    texts = [row["text"] for row in read_jsonl(FIXTURES / "clean" / "validation.jsonl")]
    sizes = sorted(len(ids) for ids in tokenizer(texts, add_special_tokens=False).input_ids)
    # Of 18 the tenth, and the first that nine tenths are not longer than.
    known = {"tokens": sum(sizes), "median_tokens": sizes[9], "p90_tokens": sizes[16]}
    assert lengths["validation"].items() >= {**known, "longest_tokens": sizes[-1]}.items()
    tokens = {split: lengths[split]["tokens"] for split in lengths}
    assert estimate["tokens"] == 2 * tokens["train"] + 2 * tokens["validation"] + tokens["test"]
    assert estimate["seconds"] > 0 and estimate["memory_gib"] > 0
    assert "A probe on random tokens" in " ".join(printed.split())


def rows(count: int = 24, **changed: Any) -> list[dict[str, Any]]:
    return [{**row, **changed} for row in make_rows(count, seed=7)]


def _lists(folder: Path) -> None:
    labels = [f"{a};{b}" for a in "abcdef" for b in "uvwxyz"]
    own = [{**row, "label": label} for row, label in zip(rows(36), labels, strict=True)]
    write_jsonl(folder / "train.jsonl", own)


def _damaged(folder: Path) -> None:
    packed = gzip.compress(b'{"text": "a", "label": "b"}\n' * 2000)
    (folder / "train.jsonl.gz").write_bytes(packed[:60])


WRONG = {
    "an empty file": lambda folder: (folder / "train.jsonl").write_text(""),
    "one document": lambda folder: write_jsonl(folder / "train.jsonl", rows(1)),
    "doubled ids": lambda folder: write_jsonl(folder / "train.jsonl", rows(id="a")),
    "no label column": lambda folder: write_jsonl(
        folder / "train.jsonl", [{"text": row["text"]} for row in rows()]
    ),
    "all alike": lambda folder: write_jsonl(
        folder / "train.jsonl", [{**row, "text": "The same. Again."} for row in rows()]
    ),
    "no text": lambda folder: write_jsonl(folder / "train.jsonl", rows(text=" ")),
    "one class": lambda folder: write_jsonl(folder / "train.jsonl", rows(label="a")),
    "lists in cells": _lists,
    "a damaged file": _damaged,
    "no JSON": lambda folder: (folder / "train.jsonl").write_text("text,label\n1,2\n"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_run_would_refuse_is_one_finding_and_exit_code_3(encoders, tmp_path, what) -> None:
    WRONG[what](tmp_path)
    (path,) = tmp_path.iterdir()
    given = [f"model.encoder={encoders['bert']}", f"data.train={path}", "data.label_column=label"]
    _, findings, printed = checked(tmp_path / "found.json", *given, code=3)
    errors = [one for one in findings.values() if one["severity"] == "error"]
    assert len(errors) == 1 and "\n" not in errors[0]["message"]
    assert printed.split("Findings: ")[1].startswith("1 error")
    assert "--id-column" not in printed
    # The run says the same.
    refused = refuse("train.py", *given, f"run_dir={tmp_path / 'run'}", here=True)
    assert len(set(refused.split()) & set(errors[0]["message"].split())) > 3


def test_cells_that_look_like_lists_are_named_with_what_to_write(encoders, tmp_path) -> None:
    _lists(tmp_path)
    given = [f"model.encoder={encoders['bert']}", f"data.train={tmp_path / 'train.jsonl'}"]
    _, findings, _ = checked(tmp_path / "a.json", *given, "data.label_column=label", code=3)
    message = findings["training_documents"]["message"]
    assert "data.label_type=multi_label" in message and "data.label_separator=';'" in message


def test_labels_of_validation_that_train_lacks_are_all_counted(encoders, tmp_path) -> None:
    write_jsonl(tmp_path / "train.jsonl", rows())
    other = [{**row, "label": "new" if n < 3 else "art"} for n, row in enumerate(rows(9))]
    write_jsonl(tmp_path / "dev.jsonl", [{**row, "label": row["label"]} for row in other])
    labels = {row["label"] for row in rows()}
    wrong = sum(row["label"] not in labels for row in other)
    given = [f"model.encoder={encoders['bert']}", "data.label_column=label"]
    given += [f"data.train={tmp_path / 'train.jsonl'}", f"data.validation={tmp_path / 'dev.jsonl'}"]
    _, findings, _ = checked(tmp_path / "a.json", *given, code=3)
    assert findings["labels_refused_in_validation"]["counts"]["documents"] == wrong >= 3
    assert "'new'" in findings["labels_refused_in_validation"]["message"]


@pytest.mark.slow
def test_ten_thousand_labels_are_told_in_a_short_table(encoders, tmp_path) -> None:
    own = [
        {"text": f"Word {n} of a text. It is short.", "label": f"l{n // 2}"} for n in range(20000)
    ]
    write_jsonl(tmp_path / "train.jsonl", own)
    given = [f"model.encoder={encoders['bert']}", f"data.train={tmp_path / 'train.jsonl'}"]
    given += ["data.label_column=label", "--no-probe", "--no-baselines"]
    report, _, printed = checked(tmp_path / "a.json", *given)
    assert len(report["labels"]) == 10_000
    assert len(printed) < 10_000 and "rarer labels" in printed


def test_a_missing_encoder_is_a_finding(tmp_path) -> None:
    write_jsonl(tmp_path / "train.jsonl", rows())
    (tmp_path / "empty").mkdir()
    given = [f"model.encoder={tmp_path / 'empty'}", f"data.train={tmp_path / 'train.jsonl'}"]
    report, findings, _ = checked(tmp_path / "a.json", *given, "data.label_column=label", code=3)
    assert findings["model"]["severity"] == "error"
    assert report["documents"]["train"] > report["documents"]["validation"] > 0


@pytest.mark.parametrize("kind", ["a run", "a file", "below a file"])
def test_a_run_folder_that_a_run_refuses_is_an_error(encoders, tmp_path, kind) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", rows())
    folder = tmp_path / "run"
    if kind == "a run":
        folder.mkdir()
        (folder / "notes.txt").write_text("Mine.")
    else:
        folder.write_text("Mine.")
    if kind == "below a file":
        folder /= "new"
    given = [f"model.encoder={encoders['bert']}", f"data.train={train}", "data.label_column=label"]
    given += [f"run_dir={folder}", "--no-baselines", "--no-probe"]
    _, findings, _ = checked(tmp_path / "a.json", *given, code=3)
    errors = [one for one in findings.values() if one["severity"] == "error"]
    assert [one["name"] for one in errors] == ["run_dir"] and str(folder) in errors[0]["message"]


def test_segments_that_the_encoder_does_not_read_are_seen_without_a_probe(
    encoders, tmp_path
) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", rows())
    given = [f"model.encoder={encoders['bert']}", f"data.train={train}", "data.label_column=label"]
    given += ["segmentation.max_tokens_per_segment=5000", "--no-baselines"]
    said = [
        checked(tmp_path / "a.json", *given, *more, code=3)[1]["model"]["message"]
        for more in ([], ["--no-probe"])
    ]
    assert said[0] == said[1] and "segmentation.max_tokens_per_segment=5000" in said[0]


def test_a_file_without_rows_has_no_table(encoders, tmp_path) -> None:
    (tmp_path / "train.jsonl").write_text("")
    given = [f"model.encoder={encoders['bert']}", f"data.train={tmp_path / 'train.jsonl'}"]
    _, _, printed = checked(tmp_path / "a.json", *given, "data.label_column=label", code=3)
    assert printed.startswith("Findings: 1 error")


def test_bad_usage_is_one_line_and_exit_code_2(encoders, tmp_path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", rows())
    given = [f"model.encoder={encoders['bert']}", f"data.train={train}", "data.label_column=label"]
    assert "--probe" in refuse(COMMAND, *given, "--probe", here=True)
    assert "nope.jsonl" in refuse(COMMAND, *given[::2], "data.train=nope.jsonl", here=True)
    assert "folder" in refuse(COMMAND, *given, "--json", tmp_path, here=True)
    os.mkfifo(tmp_path / "pipe")
    refused = refuse(COMMAND, *given, "--no-probe", "--json", tmp_path / "pipe", here=True)
    assert "a device or a pipe" in refused and (tmp_path / "pipe").is_fifo()
    missing = refuse(COMMAND, *given, "--json", tmp_path / "no" / "a.json", here=True)
    assert "cannot be written" in missing
    assert "data.labels" in refuse(COMMAND, *given, "data.labels=x", here=True)
    assert "--no-probe" in succeed(COMMAND, "--help", here=True).stdout


def test_a_file_that_is_there_is_replaced_and_nothing_else_is_written(encoders, tmp_path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", rows())
    given = [f"model.encoder={encoders['bert']}", f"data.train={train}", "data.label_column=label"]
    given += ["--no-probe", "--no-baselines", f"run_dir={tmp_path / 'run'}"]
    for _ in range(2):
        checked(tmp_path / "a.json", *given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "train.jsonl"]


def test_a_run_says_the_gravest_at_its_start_unless_it_is_not_to(encoders, tmp_path) -> None:
    long = [
        {**row, "text": row["text"] + " One more."} for row in make_rows(12, seed=1, sentences=20)
    ]
    write_jsonl(tmp_path / "train.jsonl", long)
    near = [{**row, "text": row["text"] + " Or two more."} for row in long[:3]]
    near[1]["text"] = "bad \ufffd character. " + near[1]["text"]
    write_jsonl(tmp_path / "test.jsonl", near)
    given = [f"data.train={tmp_path / 'train.jsonl'}", f"data.test={tmp_path / 'test.jsonl'}"]
    given += ["data.label_column=label", f"model.encoder={encoders['bert']}", "baselines=false"]
    given += ["training.epochs=1", "segmentation.max_tokens_per_segment=32"]
    said = succeed("train.py", *given, f"run_dir={tmp_path / 'a'}", here=True).stderr
    lines = [
        line
        for line in said.splitlines()
        if line.removeprefix("warning: ").startswith("documents: ")
    ]
    assert "3 of 3 test documents are nearly the same as one of train" in lines[0]
    assert "U+FFFD" in said and "hierbert check" in lines[-1] and len(lines) <= 6
    more = [f"run_dir={tmp_path / 'b'}", "check_data=false"]
    quiet = succeed("train.py", *given, *more, here=True).stderr
    assert "nearly the same" not in quiet and "U+FFFD" not in quiet
