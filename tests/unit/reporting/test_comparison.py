"""Runs beside one another."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hierbert.cli.report import main
from hierbert.reporting.blocks import Table
from hierbert.reporting.comparison import compare, read_several
from hierbert.reporting.found import difference
from hierbert.scoring.answers import text_hash
from hierbert.scoring.metric import METRICS

LABELS = ("law", "film")


def made(folder: Path, right: list[int], first: int = 0, texts: str = "", **results: Any) -> Path:
    """A run whose answers are right where there is a 1; `texts` tells its documents from others."""
    folder.mkdir(parents=True)
    true = [LABELS[place % 2] for place in range(first, first + len(right))]
    rows = [
        {
            "id": f"d{first + place}",
            "tokens": 5,
            "text_hash": text_hash(f"{texts}{first + place}"),
            "classification": {"true": t, "hierbert": t if r else LABELS[t == "law"]},
        }
        for place, (t, r) in enumerate(zip(true, right, strict=True))
    ]
    (folder / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    accuracy = sum(right) / len(right)
    found = {"split": "test", "documents": len(right), "seed": 4, "seconds": 3.0}
    found["scores"] = {"accuracy": accuracy, "macro_f1": accuracy, "loss": 0.1}
    (folder / "results.json").write_text(json.dumps(found | results))
    (folder / "config.resolved.yaml").write_text(f"run_dir: {folder}\nseed: {len(right)}\n")
    lines = [{"step": step, "validation.accuracy": accuracy} for step in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def refused(capsys: pytest.CaptureFixture[str], *runs: Path | str) -> str:
    """The one line of a refusal."""
    assert main([str(run) for run in runs]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_differences_are_those_of_numpy_on_the_documents_of_both(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    one, other = ((chance.random(60) < p).astype(int) for p in (0.4, 0.95))
    runs = made(tmp_path / "a", one.tolist()), made(tmp_path / "b", other[20:].tolist(), 20)
    sections = {one.title: one for one in compare(read_several(runs))}
    tables = [b for b in sections["Differences"].blocks if isinstance(b, Table)]
    gaps = (other - one)[20:]
    drawn = np.random.default_rng(4).integers(0, 40, (1000, 40))
    low, high = np.quantile(gaps[drawn].mean(1), [0.025, 0.975])
    row = tables[0].rows[0]
    assert row[:3] == ["b", "Accuracy", "40"]
    assert row[3] == f"{100 * gaps.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    assert low > 0 and row[5] == "better"
    shown = sections["Scores"].blocks[0]
    assert isinstance(shown, Table) and [row[0] for row in shown.rows] == ["a", "b"]
    settings = sections["Settings that differ"].blocks[0]
    assert isinstance(settings, Table) and settings.rows == [["seed", "60", "40"]]


@pytest.mark.parametrize(
    ("ends", "higher", "lower"),
    [
        ((0.2, 0.1, 0.3), "better", "worse"),
        ((-0.2, -0.3, -0.1), "worse", "better"),
        ((0.2, 0.0, 0.4), "not sure", "not sure"),
        ((-0.2, -0.4, 0.0), "not sure", "not sure"),
        ((0.0, 0.0, 0.0), "the same", "the same"),
    ],
)
def test_what_is_better_is_for_the_metric_to_say(ends, higher: str, lower: str) -> None:
    gain = dict(zip(("mean", "low", "high"), ends, strict=True)) | {"p": 0.01}
    assert difference(METRICS["accuracy"], gain)[2] == higher
    assert difference(METRICS["mse"], gain)[2] == lower


def test_ten_runs_and_files_that_are_written_once(tmp_path: Path, capsys) -> None:
    runs = [made(tmp_path / f"r{n}", [1] * n + [0] * (12 - n)) for n in range(1, 11)]
    output = tmp_path / "out"
    assert main([*map(str, runs), "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    assert {path.name for path in output.iterdir()} == {"report.html", "report.md"}
    assert shown == (output / "report.md").read_text()
    assert "10 runs compared" in shown and shown.count("| r10 ") >= 2
    assert "exists" in refused(capsys, *runs, "--output", output)
    assert main([*map(str, runs[:2]), "--output", str(output), "--overwrite"]) == 0
    assert (output / "report.html").stat().st_size < 1_000_000


def test_names_that_are_the_same_are_told_apart_by_their_folders(tmp_path: Path, capsys) -> None:
    runs = [made(tmp_path / name / "run", [1, 0, 1]) for name in "ab"]
    assert main([*map(str, runs)]) == 0
    shown = capsys.readouterr().out
    assert str(runs[0]) in shown.replace("\\", "") and "+0.0 (+0.0 to +0.0)" in shown


def test_what_cannot_be_compared_is_one_line(tmp_path: Path, capsys) -> None:
    one = made(tmp_path / "one", [1, 0])
    summaries = tmp_path / "summaries"
    summaries.mkdir()
    (summaries / "results.json").write_text(json.dumps({"scores": {"rouge1": 0.3}}))
    assert "nothing to compare" in refused(capsys, one, summaries)
    assert "named twice" in refused(capsys, one, one / "results.json")
    assert "holds no results.json" in refused(capsys, one, tmp_path / "none")
    (summaries / "results.json").write_bytes(b"\xff{")
    assert "results.json" in refused(capsys, one, summaries)
    assert "command line" in refused(capsys)
    assert "--overwrite needs --output" in refused(capsys, one, "--overwrite")


def test_runs_without_answers_or_common_documents_say_so(tmp_path: Path, capsys) -> None:
    one, other = made(tmp_path / "one", [1, 0]), made(tmp_path / "other", [1, 1], 50)
    assert main([str(one), str(other)]) == 0
    assert "no classification document in common" in capsys.readouterr().out
    # Ids that were made up are those of other documents too.
    others = made(tmp_path / "others", [1, 1], texts="of another file ")
    assert main([str(one), str(others)]) == 0
    shown = capsys.readouterr().out
    assert "no classification document in common" in shown and "which is" not in shown
    answers = others / "answers.jsonl"
    answers.write_text(answers.read_text().replace("text_hash", "id"))
    answers.write_text(re.sub(r', "id": "[0-9a-f]{16}"', "", answers.read_text()))
    assert main([str(one), str(others)]) == 0
    assert "of an earlier version, which kept no text" in capsys.readouterr().out
    (other / "answers.jsonl").unlink()
    assert main([str(one), str(other)]) == 0
    assert "no answers of other" in capsys.readouterr().out


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path, capsys) -> None:
    one = made(tmp_path / "one", [1, 0])
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(capsys, one, "--output", tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("file", "field", "changed"),
    [
        ("results.json", "scores.accuracy", {"scores": {"accuracy": "high"}}),
        ("results.json", "documents", {"documents": "many"}),
        ("results.json", "seconds", {"seconds": "abc"}),
        ("results.json", "seed", {"seed": [1]}),
        ("metrics.jsonl", "validation.accuracy", {"step": 1, "validation.accuracy": "x" * 999}),
        ("metrics.jsonl", "step", {"step": "one", "validation.accuracy": 0.5}),
    ],
)
def test_what_is_no_number_is_named_by_file_and_field(
    tmp_path: Path, capsys, file: str, field: str, changed: dict[str, Any]
) -> None:
    one, other = made(tmp_path / "one", [1, 0]), made(tmp_path / "other", [1, 1])
    old = {} if file == "metrics.jsonl" else json.loads((other / file).read_text())
    (other / file).write_text(json.dumps(old | changed) + "\n")
    told = refused(capsys, one, other)
    assert str(other / file) in told and f" {field} is " in told and len(told) < 400


def test_a_part_that_is_damaged_leaves_the_others(tmp_path: Path, capsys) -> None:
    one = made(tmp_path / "one", [1, 0])
    other = made(tmp_path / "other", [1, 1], intervals=[3], environment="x", resources=7)
    assert main([str(one), str(other)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("This cannot be told from these results") == 2
    assert "## Differences" in shown and "## Training" in shown
