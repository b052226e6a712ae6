"""Odd corpora at the training command: each trains, or is refused in one line that says why."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows

ROWS = make_rows(8, seed=1)
Rows = list[dict[str, Any]]


def answers_of(folder: Path, documents: str) -> Rows:
    """Rows of the run's model for documents of the same folder."""
    asked = ["--model", folder / "run/model", "--input", folder / documents]
    succeed("infer.py", *asked, "--output", folder / "out.jsonl", here=True)
    return read_jsonl(folder / "out.jsonl")


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    def build(rows: Rows, *more: str, validation: Rows | None = None) -> list[str]:
        found = [
            f"data.train={write_jsonl(tmp_path / 'train.jsonl', rows)}",
            f"run_dir={tmp_path / 'run'}", f"model.encoder={encoders['bert']}",
            "data.label_column=label", "model.aggregator_layers=1", "training.epochs=1",
            "segmentation.max_tokens_per_segment=32", "training.documents_per_batch=4",
            *more,
        ]  # fmt: skip
        if validation is not None:
            path = write_jsonl(tmp_path / "validation.jsonl", validation)
            found.append(f"data.validation={path}")
        return found

    return build


def labelled(*labels: Any) -> Rows:
    """The rows with these labels, again and again."""
    return [{**row, "label": labels[at % len(labels)]} for at, row in enumerate(ROWS)]


def texts(*those: Any) -> Rows:
    """The rows with these texts, again and again."""
    return [{**row, "text": those[at % len(those)]} for at, row in enumerate(ROWS)]


REFUSED: dict[str, tuple[Rows, str]] = {
    "one class": (labelled("law"), r"has 1 label \('law'\); single_label needs at least 2"),
    "one class beside blanks": (labelled("law", "  "), r"has 1 label \('law'\)"),
    "numbers and text": (labelled(1, "1"), r"mixes types: .* line 1 has 1 \(a number\), .*line 2"),
    "objects": (labelled({"a": 1}), r"line 1: column 'label' holds {'a': 1} \(an object\)"),
    "no label at all": (labelled(None), "no document has a label in column 'label', from .* li"),
    "lists without a label": (labelled([]), "has 0 labels; multi_label needs at least 1"),
    "a class for each document": (
        [{**row, "label": row["id"]} for row in ROWS],
        "training needs each of the 8, for no other one has their labels; give a validation corpus",
    ),
    "one document": (ROWS[:1], "has 1 label"),
    "no text": (texts(""), "column 'text' holds no text in any of 8 documents, from .* line 1 on"),
    "white space": (texts(" \n\t\u3000", "\u2028"), "holds no text in any of 8 documents"),
    "lists without text": (texts([], [" ", ""]), "holds no text in any of 8 documents"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_learnt_from_is_one_line(case, arguments, tmp_path) -> None:
    rows, message = REFUSED[case]
    line = refuse("train.py", *arguments(rows), here=True)
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists(), "nothing is begun"


def test_a_label_that_training_lacks_is_named_with_its_row(arguments) -> None:
    validation = [{**ROWS[0], "label": "a"}, {**ROWS[1], "label": "A "}]
    line = refuse("train.py", *arguments(labelled("a", "b"), validation=validation), here=True)
    said = "validation.jsonl, line 2: column 'label' has the label 'A ', which the training"
    assert said in line and "; allowed are 'a', 'b'" in line


TRAINED: dict[str, tuple[list[Any], set[str]]] = {
    "words that YAML takes for booleans": (["yes", "no"], {"yes", "no"}),
    "markup": (["<script>alert(1)</script>", "| a |"], {"<script>alert(1)</script>", "| a |"}),
    "paths": (["../../up", "/etc/passwd"], {"../../up", "/etc/passwd"}),
    "half a character": (["\ud800", "b"], {"\ud800", "b"}),
    "a label of 100,000 characters": (["x" * 100_000, "b"], {"x" * 100_000, "b"}),
}


@pytest.mark.parametrize("case", TRAINED)
def test_labels_are_kept_as_they_are_written(case, arguments, tmp_path) -> None:
    labels, kept = TRAINED[case]
    succeed("train.py", *arguments(labelled(*labels), "baselines=false"), here=True)
    found = json.loads((tmp_path / "run/model/config.json").read_text())["id2label"]
    assert set(found.values()) == kept
    write_jsonl(tmp_path / "docs.jsonl", ROWS[:3])
    answers = answers_of(tmp_path, "docs.jsonl")
    assert len(answers) == 3 and {row["label"] for row in answers} <= kept
    assert sorted(os.listdir(tmp_path)) == ["docs.jsonl", "out.jsonl", "run", "train.jsonl"]


def test_ids_with_separators_make_no_paths(arguments, tmp_path) -> None:
    ids = ["../../x", "/etc/passwd", "a/b\\c", "C:\\x", "~", "..", "nul\x00byte", "-rf"]
    rows = [{**row, "id": name} for row, name in zip(ROWS, ids, strict=True)]
    before = set(tmp_path.parent.rglob("*"))
    frozen = ("training.freeze_encoder=true", "data.summary_column=summary")
    succeed("train.py", *arguments(rows, *frozen, "baselines=false"), here=True)
    answers = answers_of(tmp_path, "train.jsonl")
    assert [row["id"] for row in answers] == ids
    new = set(tmp_path.parent.rglob("*")) - before
    # The cache of the tests lies beside the folder of this one.
    places = [tmp_path / name for name in ("run", "train.jsonl", "out.jsonl")]
    places.append(Path(os.environ["HIERBERT_CACHE"]))
    assert not [path for path in new if not any(path.is_relative_to(place) for place in places)]


def test_a_document_without_text_is_counted_and_trained_around(arguments) -> None:
    rows = texts(ROWS[0]["text"], "", " \n", ROWS[3]["text"])
    given = arguments(rows, "data.summary_column=summary", validation=ROWS[:2])
    assert "train: 8 documents (4 without text)" in succeed("train.py", *given, here=True).stderr


def test_one_document_for_validation_and_for_training(arguments, tmp_path) -> None:
    succeed("train.py", *arguments(labelled(["a"])[:1], validation=labelled(["a"])[:1]), here=True)
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["documents"] == 1 and results["steps"] == 1


def test_a_regression_of_equal_numbers_answers_with_them(arguments, tmp_path) -> None:
    succeed("train.py", *arguments(labelled(2.5), "data.label_type=regression"), here=True)
    answers = answers_of(tmp_path, "train.jsonl")
    assert all(abs(row["label"] - 2.5) < 5 for row in answers)


@pytest.mark.slow
def test_fewer_rows_than_processes(arguments, tmp_path) -> None:
    rows = labelled(["a"])[:1]
    succeed("train.py", *arguments(rows, "baselines=false", validation=rows), processes=2)
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["documents"] == 1 and results["steps"] == 1
    done = run("train.py", *arguments(texts(""), f"run_dir={tmp_path / 'none'}"), processes=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode != 0 and len(lines) == 1 and "holds no text in any" in lines[0]
