"""Labels as users have them in files: read, told before all encoding, or refused in words."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from commands import refuse, succeed, write_jsonl
from conftest import make_rows
from small_runs import Settings, bits_of, results_of, small_run

from hierbert import DataError, HierBert

SETS = [["x", "y"], ["z"], ["x", "z"], [], ["y"]]
TEXTS = [str(row["text"]) for row in make_rows(10, seed=1)]


@pytest.fixture
def settings(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    return small_run(tmp_path, encoders["bert"])


def table(path: Path, columns: list[str], rows: list[list[Any]]) -> Path:
    """A csv of these columns beside the texts."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", *columns])
        for number, row in enumerate(rows):
            writer.writerow([number, TEXTS[number % len(TEXTS)] + f" Film {number}.", *row])
    return path


def lists(path: Path, labels: list[Any]) -> Path:
    """The same as JSON Lines, whose labels are what they are."""
    texts = [TEXTS[number % len(TEXTS)] + f" Film {number}." for number in range(len(labels))]
    return write_jsonl(
        path,
        [{"id": str(n), "text": texts[n], "label": label} for n, label in enumerate(labels)],
    )


def train(settings: Settings, source: Path, *more: str) -> str:
    """What a run prints; its validation documents are its training documents."""
    given = settings(f"data.train={source}", f"data.validation={source}", "data.test=", *more)
    return succeed("train.py", *given, here=True).stderr


def flags(labels: list[str]) -> list[str]:
    return [{True: "1", False: "0"}[name in labels] for name in "xyz"]


def named(labels: list[str]) -> list[str]:
    return [*labels, "", ""][:2]


SPELLINGS: dict[str, tuple[list[str], Any, list[str]]] = {
    "json": (["label"], lambda labels: [json.dumps(labels)], []),
    "python": (["label"], lambda labels: [str(labels)], []),
    "separated": (
        ["label"],
        lambda labels: ["; ".join(labels)],
        ["data.label_separator=;", "data.empty_label=none"],
    ),
    "flags": (["x", "y", "z"], flags, ["data.label_column=[x, y, z]"]),
    "columns of labels": (
        ["first", "second"],
        named,
        ["data.label_column=[first, second]", "data.empty_label=none"],
    ),
}


@pytest.mark.slow
def test_lists_in_cells_and_columns_are_the_labels_of_lists(settings, tmp_path) -> None:
    labels = [SETS[n % len(SETS)] for n in range(10)]
    train(settings, lists(tmp_path / "docs.jsonl", labels))
    expected, run = bits_of(tmp_path / "run"), tmp_path / "run"
    model = HierBert.from_pretrained(run / "model")
    scores = model.evaluate(str(tmp_path / "docs.jsonl"))
    for name, (columns, cells, more) in SPELLINGS.items():
        source = table(tmp_path / "docs.csv", columns, [cells(each) for each in labels])
        run = tmp_path / name
        train(settings, source, f"run_dir={run}", *more)
        assert bits_of(run) == expected, name
        assert list(results_of(run)["label_counts"].items()) == [("x", 4), ("y", 4), ("z", 4)]
        # A model reads what it was trained on, however it is written.
        how = {
            "separated": {"label_separator": ";", "empty_label": "none"},
            "flags": {"label_column": columns},
            "columns of labels": {"label_column": columns, "empty_label": "none"},
        }
        assert model.evaluate(str(source), **how.get(name, {})) == scores, name
        if name == "flags":
            asked = ["--model", run / "model", "--input", source, "--label-column", *columns]
            succeed("hierbert-evaluate", *asked, "--output", tmp_path / "scores", here=True)
            assert results_of(tmp_path / "scores")["scores"] == scores
        if name == "separated":
            with pytest.raises(DataError) as caught:
                model.evaluate(str(source), empty_label="none")
            assert "'x; y'" in str(caught.value) and "label_separator to ';'" in str(caught.value)


def test_a_blank_says_that_labels_are_unknown_or_that_none_applies(settings, tmp_path) -> None:
    cells = [["x;y"], [""], ["z"], [" "], ["y"]]
    source = table(tmp_path / "docs.csv", ["label"], cells)
    weights = []
    for blank in (None, []):
        labels = [["x", "y"], blank, ["z"], blank, ["y"]]
        told = ["data.empty_label=none"] if blank == [] else []
        jsonl, folder = lists(tmp_path / "docs.jsonl", labels), tmp_path / f"blank{blank}"
        train(settings, jsonl, f"run_dir={folder}-jsonl")
        printed = train(settings, source, "data.label_separator=;", f"run_dir={folder}-csv", *told)
        weights.append(bits_of(tmp_path / f"blank{blank}-csv"))
        assert weights[-1] == bits_of(tmp_path / f"blank{blank}-jsonl")
        unknown = "unknown (blank) for 2 of 5 documents (data.empty_label=none says that none"
        assert (unknown in printed) is (blank is None)
        assert ("none applies to 2" in printed) is (blank == [])
        assert ("2 without a label" in printed) is (blank is None)
    assert weights[0] != weights[1]


def test_labels_are_told_before_anything_is_encoded(settings, tmp_path) -> None:
    labels = ["law", "film", "law", None, "film", "law", "Law", "note", "law"]
    lines = train(
        settings, lists(tmp_path / "docs.jsonl", labels), "training.freeze_encoder=true"
    ).splitlines()
    places = [n for n, line in enumerate(lines) if line.startswith("labels: ")]
    encoding = [n for n, line in enumerate(lines) if line.startswith(("segmenting", "encoding"))]
    assert len(places) == 1 and encoding and places[0] < encoding[0]
    assert lines[places[0]] == (
        "labels: 4 in column 'label'; commonest 'law' (4), rarest 'note' (1); occurring once: 2; "
        "unknown (blank) for 1 of 9 documents"
    )
    alike = [line for line in lines if "white space" in line]
    assert len(alike) == 1 and "'Law', 'law'" in alike[0] and "2 classes" in alike[0]


JOINED = ["A; B; C", "B; D", "A", "C; D; E", "B; E", "A; D", "C"]


@pytest.mark.parametrize(
    ("columns", "rows", "more", "parts"),
    [
        (["label"], [[cell] for cell in JOINED], [],
         ["docs.csv, row 1: column 'label' holds 'A; B; C'", "several labels",
          "write data.label_type=multi_label data.label_separator=';'",
          "data.label_type=single_label"]),
        (["label"], [[cell.replace(";", ",")] for cell in JOINED], [],
         ["row 1", "'A, B, C'", "data.label_separator=','"]),
        (["label"], [[cell.replace("; ", "\t")] for cell in JOINED], [],
         ["row 1", "data.label_separator='\"\\t\"'"]),
        (["label"], [[cell] for cell in JOINED],
         ["data.label_type=multi_label", "data.label_separator=,"],
         ["row 1", "data.label_separator=';'", '["a label"]']),
        (["label"], [["x|y"], ["y|z"], ["z"]], ["data.label_type=multi_label"],
         ["row 1", "data.label_separator='|'"]),
        (["label"], [["['a' 'b']"], ["['b' 'c']"], ["['a']"]], [],
         ["row 1", "\"['a' 'b']\"", "looks like a list", '["a", "b"]']),
        (["label"], [["[a, b]"], ["[b]"], ["[c, a]"]], ["data.label_type=multi_label"],
         ["row 1", "'[a, b]'", "looks like a list"]),
        (["label"], [["['a']"], ["b"], ["['b']"]], [],
         ["row 1", "the list \"['a']\"", "docs.csv, row 2", "multi_label", "single_label"]),
        (["label"], [[f"title {n}"] for n in range(25)], [],
         ["25 of 25 labels", "'title 0'", "data.label_column", "data.label_type=single_label"]),
        (["label"], [[n] for n in range(25)], [], ["25 of 25", "data.label_type=regression"]),
        (["label"], [["spam"], [""], ["spam"]], [],
         ["has 1 label ('spam'); single_label needs at least 2", "data.empty_label=none"]),
        (["a", "b"], [[1, 0], ["", 1]], ["data.label_column=[a, b]"],
         ["docs.csv, row 2: column 'a' is blank", "data.empty_label"]),
        (["a", "b"], [[1, 0], [0, 2]], ["data.label_column=[a, b]"],
         ["docs.csv, row 2: column 'b' holds '2'", "1 and 0"]),
        (["a", "b"], [[1, "no"], [0, "maybe"]], ["data.label_column=[a, b]"],
         ["row 2: column 'b' holds 'maybe'"]),
        (["a", "b"], [[1, 0]], ["data.label_column=[a, c]"],
         ["no column 'c'", "data.label_column"]),
        (["a", "b"], [[1, 0]], ["data.label_column=[a, a]"], ["data.label_column", "each once"]),
        (["a", "b"], [[1, 0]], ["data.label_column=[a, b]", "data.label_type=single_label"],
         ["data.label_type='single_label'", "several label columns", "multi_label"]),
        (["label"], [[1], [0]], ["data.empty_label=none", "data.label_type=regression"],
         ["data.label_type='regression'", "data.empty_label=none", "multi_label"]),
    ],
)  # fmt: skip
def test_labels_that_are_surely_misread_are_refused_with_what_to_write(
    settings, tmp_path, columns, rows, more, parts
) -> None:
    given = settings(f"data.train={table(tmp_path / 'docs.csv', columns, rows)}", *more)
    line = refuse("train.py", *given, "data.validation=", "data.test=", here=True)
    assert all(part in line for part in parts), line
    assert len(line) < 500 and not (tmp_path / "run").exists()


def test_what_the_user_calls_one_label_is_one_label(settings, tmp_path) -> None:
    source = table(tmp_path / "docs.csv", ["label"], [[cell] for cell in JOINED])
    printed = train(settings, source, "data.label_type=single_label")
    assert sorted(results_of(tmp_path / "run")["label_counts"]) == sorted(JOINED)
    assert "'A; B; C', which looks like several labels and is read as one" in printed


def test_a_label_that_says_nothing_is_named(settings, tmp_path) -> None:
    rows = [["x;all"], ["all"], ["y;all"], ["x;all"]]
    source = table(tmp_path / "docs.csv", ["label"], rows)
    printed = train(settings, source, "data.label_separator=;")
    assert "labels of all 4 documents, of which nothing is learnt: 'all'" in printed
    source = table(tmp_path / "docs.csv", ["a", "b", "c"], [[1, 0, 0], [0, 0, 1]])
    columns = "data.label_column=[a, b, c]"
    printed = train(settings, source, columns, f"run_dir={tmp_path / 'other'}")
    assert "labels of no document, of which nothing is learnt: 'b'" in printed


def test_a_label_that_the_draw_takes_from_training_is_named(settings, tmp_path) -> None:
    # Each document has one of its own, so that of the one that is held out is lost.
    rows = [[f"x;own {n}"] for n in range(9)]
    source = table(tmp_path / "docs.csv", ["label"], rows)
    given = settings(f"data.train={source}", "data.label_separator=;", "data.validation=")
    printed = succeed("train.py", *given, "data.test=", here=True).stderr.splitlines()
    (warning,) = [line for line in printed if "labels of no training document" in line]
    assert warning.count("'own ") == 1 and "'x'" not in warning
    assert any(line.startswith("train: 8 documents (1 of 10 labels in none") for line in printed)
    assert any(line.startswith("validation: 1 documents (8 of 10 labels") for line in printed)


def test_documents_that_are_all_alike_are_refused(settings, tmp_path) -> None:
    rows = [{"text": text, "label": label} for text, label in (("A b.", "x"), ("A  b. ", "y"))]
    given = settings(f"data.train={write_jsonl(tmp_path / 'train.jsonl', rows)}")
    line = refuse("train.py", *given, here=True)
    assert "column 'text' holds the same text in all 2 documents" in line
    assert "data.text_column" in line


@pytest.mark.slow
def test_ten_thousand_labels_are_learnt(settings, tmp_path) -> None:
    labels = [[f"class {1000 * n + k}" for k in range(1000)] for n in range(10)]
    source = lists(tmp_path / "docs.jsonl", [labels[n % 10] for n in range(20)])
    given = [f"data.train={source}", "data.validation=", "data.test=", "training.epochs=1"]
    done = succeed("train.py", *settings(*given, "show_sample=true"), here=True)
    assert "labels: 10,000 in column 'label'; commonest 'class 0' (2)" in done.stderr
    assert len(results_of(tmp_path / "run")["label_counts"]) == 10_000
    # One document's labels are shown, but not thousands.
    assert max(map(len, done.stdout.splitlines())) < 1000
