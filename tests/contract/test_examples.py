"""The scripts of examples/ run, on a small encoder."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
from commands import ROOT, write_jsonl
from conftest import make_rows

from hierbert import HierBert


@pytest.fixture
def run_example(tmp_path, monkeypatch, capsys):
    """Runs a script in a folder of its own, and gives what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_train_in_memory(run_example, encoders, tmp_path) -> None:
    told = run_example("train_in_memory.py", encoders["bert"])
    assert "accuracy: " in told and "'judgment'" in told
    model = HierBert.from_pretrained(tmp_path / "kinds-model")
    assert model.tasks == ("classify", "embed")


def test_predict_a_folder(run_example, trained, tmp_path) -> None:
    (tmp_path / "texts").mkdir()
    for row in make_rows(3, seed=5):
        (tmp_path / "texts" / f"{row['id']}.txt").write_text(str(row["text"]), encoding="utf-8")
    rows = [
        json.loads(line)
        for line in run_example("predict_folder.py", trained, "texts").split("\n")
        if line
    ]
    assert [row["file"] for row in rows] == ["d0.txt", "d1.txt", "d2.txt"]
    assert all(row["label"] in row["probabilities"] and row["summary"] for row in rows)


def test_sweep(run_example, encoders, tmp_path) -> None:
    write_jsonl(tmp_path / "train.jsonl", make_rows(16, seed=6))
    told = run_example("sweep.py", "train.jsonl", encoders["bert"]).splitlines()
    best = Path(told[-1].removeprefix("best: "))
    scores = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["validation"]["macro_f1"]
        for path in (tmp_path / "runs").glob("*/results.json")
    }
    assert len(scores) == 4 and scores[best.name] == max(scores.values())
    # What is there is not done again.
    again = run_example("sweep.py", "train.jsonl", encoders["bert"]).splitlines()
    assert again == told[-len(again) :]


def test_transformers_trainer(run_example, trained, tmp_path) -> None:
    rows = [{key: row[key] for key in ("text", "label")} for row in make_rows(6, seed=7)]
    told = run_example(
        "transformers_trainer.py", trained, write_jsonl(tmp_path / "rows.jsonl", rows)
    )
    answers = HierBert.from_pretrained(trained).classify([row["text"] for row in rows])
    right = sum(answer.label == row["label"] for answer, row in zip(answers, rows, strict=True))
    accuracy = float(re.search(r"'eval_accuracy': (?:np.float64\()?([\d.]+)", told)[1])
    assert accuracy == pytest.approx(right / 6)
    assert f"'label': '{answers[0].label}'" in told
