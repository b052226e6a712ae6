"""The inference command as users run it: every format in and out, resuming, mistakes."""

import csv
import gzip
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import read_jsonl, succeed, write_jsonl
from conftest import make_rows
from inference import (
    answer,
    infer,
    kept_rows,
    save_model,
    small_units,
    start_infer,
    the_error,
)

from hierbert.cli.infer import main

ROWS = make_rows(9, seed=4)
ROWS[3]["text"] = ""
ROWS[4]["text"] = '这部电影很好。😀 Half \ud83d a pair, a "quote", a comma.\r\nThe\x00 end.'


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {0: "art", 1: "law", 2: "a.b"}
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"], id2label=names)


@pytest.fixture(scope="module")
def limited(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of summaries alone that reads two segments of a document."""
    settings: dict[str, Any] = {"classification": False, "max_segments": 2}
    return save_model(tmp_path_factory.mktemp("limited"), encoders["bert"], **settings)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "docs.jsonl", ROWS)


def clean(text: str) -> str:
    return text.replace("\ud83d", "\ufffd")


def test_the_script_answers_and_says_what_it_did(model, docs) -> None:
    locale = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}  # the output is UTF-8 all the same
    done = succeed("infer.py", "--model", model, "--input", docs, "--output", "-", **locale)
    assert done.stderr.splitlines()[-1] == "9 documents -> standard output"
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    for row, given in zip(rows, ROWS, strict=True):
        assert list(row) == ["id", "label", "probabilities", "summary", "sentences"]
        assert list(row["probabilities"]) == ["art", "law", "a.b"]
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        texts = [given["text"][s["start"] : s["end"]] for s in row["sentences"]]
        assert texts == [sentence["text"] for sentence in row["sentences"]]
        assert row["summary"] == "\n".join(" ".join(text.split()) for text in texts)
        assert all(list(s) == ["text", "start", "end", "score"] for s in row["sentences"])
    assert rows[3]["summary"] == "" and rows[3]["sentences"] == []


def test_help_teaches_and_needs_no_model(capsys) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    shown = capsys.readouterr().out
    for words in ("examples:", "--max-words", "--resume", "| head", "--batch-tokens", "output:"):
        assert words in shown


def test_every_input_format_gives_the_same_answers(model, tmp_path) -> None:
    rows = [{**row, "text": clean(row["text"]).replace("\r", " ")} for row in ROWS]
    made: dict[str, Path | list[Path]] = {"jsonl": write_jsonl(tmp_path / "a.jsonl", rows)}
    for ending, delimiter in (("csv", ","), ("tsv", "\t")):
        made[ending] = tmp_path / f"a.{ending}"
        with made[ending].open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    made["json"] = tmp_path / "a.json"
    made["json"].write_text(json.dumps(rows))
    for ending in ("jsonl", "json", "csv", "tsv"):
        made[f"{ending}.gz"] = tmp_path / f"z.{ending}.gz"
        made[f"{ending}.gz"].write_bytes(gzip.compress(made[ending].read_bytes()))
    made["parquet"] = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), made["parquet"])
    made["folder"] = tmp_path / "texts"
    made["folder"].mkdir()
    for row in rows:
        (made["folder"] / f"{row['id']}.txt").write_bytes(row["text"].encode())
    write_jsonl(tmp_path / "part-1.jsonl", rows[:4])
    write_jsonl(tmp_path / "part-2.jsonl", rows[4:])
    made["glob"] = tmp_path / "part-*.jsonl"
    made["list"] = [tmp_path / "part-1.jsonl", tmp_path / "part-2.jsonl"]
    results = {}
    for name, source in made.items():
        output = tmp_path / f"out-{name.replace('.', '-')}.jsonl"
        results[name] = answer(model, source, output, "--max-words", "12")
    expected = results["jsonl"]
    assert len(expected) == 9 and expected[4]["sentences"]
    for name, found in results.items():
        assert [row["id"] for row in found] == [row["id"] for row in expected], name
        assert [(row["label"], row["summary"]) for row in found] == [
            (row["label"], row["summary"]) for row in expected
        ], name


def test_csv_and_parquet_hold_what_jsonl_holds(model, limited, docs, tmp_path) -> None:
    for folder, more in ((model, ("--task", "all", "--segment-vectors")), (limited, ())):
        plain = answer(folder, docs, tmp_path / f"{folder.name}.jsonl", *more)
        expected = json.loads(clean(json.dumps(plain, ensure_ascii=False)))
        for row in expected:
            row.setdefault("omission", None)
        shortened = [row for row in expected if row["omission"]]
        assert bool(shortened) == (folder == limited)
        answer(folder, docs, tmp_path / f"{folder.name}.parquet", *more)
        table = pq.read_table(tmp_path / f"{folder.name}.parquet")
        assert table.to_pylist() == expected
        assert table.column_names == list(expected[0])
        answer(folder, docs, tmp_path / f"{folder.name}.csv", *more)
        with (tmp_path / f"{folder.name}.csv").open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
        assert list(found[0]) == list(expected[0])
        for row, wanted in zip(found, expected, strict=True):
            for name, value in wanted.items():
                if isinstance(value, list | dict):
                    assert json.loads(row[name]) == value
                else:
                    assert row[name] == ("" if value is None else value)


def test_what_was_left_out_is_told_in_the_row_and_in_all(limited, docs, tmp_path, capsys) -> None:
    rows = answer(limited, docs, tmp_path / "o.jsonl")
    omissions = [row["omission"] for row in rows if "omission" in row]
    left_out = sum(omission["segments"] for omission in omissions)
    assert 0 < len(omissions) < 9
    said = f"max_segments: {len(omissions)} (segments left out: {left_out}; see `omission`"
    assert said in capsys.readouterr().err


def test_tasks_and_budgets(model, limited, docs, tmp_path) -> None:
    fields = {
        "classify": ["id", "label", "probabilities"],
        "summarize": ["id", "summary", "sentences"],
        "embed": ["id", "document_vector"],
        "all": ["id", "label", "probabilities", "summary", "sentences", "document_vector"],
    }
    for task, names in fields.items():
        rows = answer(model, docs, tmp_path / f"{task}.jsonl", "--task", task)
        assert all(list(row) == names for row in rows), task
    rows = answer(model, docs, tmp_path / "vectors.jsonl", "--task", "embed", "--segment-vectors")
    assert list(rows[0])[2:] == ["segment_vectors", "segment_spans"]
    assert len(rows[0]["segment_vectors"]) == len(rows[0]["segment_spans"])
    rows = answer(limited, docs, tmp_path / "default.jsonl")
    assert list(rows[0]) == fields["summarize"], "the default is what the model has heads for"
    words = answer(model, docs, tmp_path / "words.jsonl", "--max-words", "9")
    assert all(len(row["summary"].split()) <= 9 or len(row["sentences"]) == 1 for row in words)
    two = answer(model, docs, tmp_path / "two.jsonl", "--max-sentences", "2", "--order", "score")
    scores = [[s["score"] for s in row["sentences"]] for row in two]
    assert max(map(len, scores)) == 2 and all(s == sorted(s, reverse=True) for s in scores)
    for number, more in enumerate((["--max-tokens", "9"], ["--max-characters", "50"])):
        rows = answer(model, docs, tmp_path / f"b{number}.jsonl", *more)
        assert max(len(row["sentences"]) for row in rows) <= 3
    rows = answer(model, docs, tmp_path / "ratio.jsonl", "--ratio", "1", "--redundancy", "0.5")
    assert all(
        row["sentences"][-1]["end"] == len(given["text"])
        for row, given in zip(rows, ROWS, strict=True)
        if given["text"]
    )


def test_ids_are_kept_as_text_or_made_and_labels_are_ignored(model, tmp_path) -> None:
    rows = [{"key": 7, "body": "The cat.", "label": {"odd": 1}}, {"key": 12, "body": "A dog."}]
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    named = answer(model, docs, tmp_path / "a.jsonl", "--text-column", "body", "--id-column", "key")
    assert [row["id"] for row in named] == ["7", "12"]
    made = answer(model, docs, tmp_path / "b.jsonl", "--text-column", "body")
    assert [row["id"] for row in made] == ["docs-1", "docs-2"]


def test_standard_input_to_output_and_a_reader_that_leaves(model, tmp_path) -> None:
    many = write_jsonl(tmp_path / "many.jsonl", make_rows(600, sentences=3))
    with many.open("rb") as stdin:
        process = start_infer(
            model, "--input", "-", "--output", "-", "--batch-tokens", "300",
            stdin=stdin, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        first = [json.loads(process.stdout.readline()) for _ in range(10)]
        process.stdout.close()
        errors = process.communicate()[1].decode()
    assert [row["id"] for row in first] == [f"d{number}" for number in range(10)]
    assert process.returncode == 0
    assert "Error" not in errors and "Traceback" not in errors and "Exception" not in errors


def test_a_full_disk_behind_standard_output_is_one_line(model, docs) -> None:
    with open("/dev/full", "wb") as full:
        process = start_infer(model, "--input", docs, "--output", "-", stdout=full)
        errors = process.communicate()[1].decode()
    assert process.returncode == 2
    assert errors.splitlines()[-1] == "error: --output - cannot be written: No space left on device"


def test_standard_input_is_answered_up_to_its_broken_row(
    model, tmp_path, monkeypatch, capsys
) -> None:
    """Also the documents that were read but not yet predicted when the row came."""
    small_units(monkeypatch)
    good = "".join(json.dumps(row) + "\n" for row in make_rows(40))
    data = io.BytesIO((good + "{broken\n").encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(data)))
    output = tmp_path / "o.jsonl"
    assert infer(model, "--input", "-", "--output", output) == 2
    assert "standard input, line 41: broken JSON in column 2" in the_error(capsys)
    rows = kept_rows(output)
    # That the last was a unit by itself was not known yet.
    assert [row["id"] for row in rows] == [f"d{number}" for number in range(39)]
    assert not output.exists()


@pytest.mark.slow
def test_a_killed_job_goes_on_where_it_was(model, tmp_path) -> None:
    """No row is lost or doubled, though files were torn."""
    rows = make_rows(400, seed=9)
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    output = tmp_path / "o.jsonl"
    arguments = ("--input", "-", "--output", output, "--batch-tokens", "100", "--resume")
    # Resuming what never began begins it. The pipe stays open: the job cannot end by itself, and
    # what it has is more than it reads ahead.
    process = start_infer(model, *arguments, small=True, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"".join(lines[:320]))
    process.stdin.flush()
    while process.poll() is None and len(kept_rows(output)) <= 5:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(kept_rows(output))
    (folder,) = (tmp_path / "o.jsonl.partial" / ".unfinished").glob("units-*")
    assert 5 < done < 400 and not output.exists()
    (folder / "new-torn").write_bytes(b'+0123456789abcdef{"id": "d399", "lab')
    torn = folder / "unit-00000-000300"
    torn.write_bytes((folder / "unit-00000-000000").read_bytes()[:-7])
    finished = succeed("infer.py", "--model", model, *arguments, stdin=b"".join(lines))
    assert f"resuming after {done} rows" in finished.stderr
    assert f"400 documents ({done} rows of them before) -> {output}" in finished.stderr
    resumed = read_jsonl(output)
    assert [row["id"] for row in resumed] == [row["id"] for row in rows]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.jsonl"]
    write_jsonl(tmp_path / "docs.jsonl", rows)
    whole = answer(model, tmp_path / "docs.jsonl", tmp_path / "whole.jsonl")
    for row, expected in zip(resumed, whole, strict=True):
        assert (row["label"], row["summary"]) == (expected["label"], expected["summary"])
