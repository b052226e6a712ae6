"""`hierbert taxonomy check` and `embed`: what they print and write, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import refuse, succeed
from pyarrow import parquet

TREE = "id,parent,name\nlaw,,Law\nlease,law,Lease\nloan,law,Loan\nsub,lease,Sublease\nnote,,Lease\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree.csv"
    path.write_text(TREE, encoding="utf-8")
    return path


def test_a_tree_is_counted(tree: Path) -> None:
    found = tree.with_name("facts.json")
    printed = succeed("hierbert", "taxonomy", "check", tree, "--json", found, here=True).stdout
    assert "5 nodes, 3 of them leaves, on 3 levels; 4 pairs" in printed
    assert "1 name at several places, 'Lease'" in printed
    assert "single children, which say no more than their parents: 1" in printed
    assert json.loads(found.read_text("utf-8")) == {
        "nodes": 5,
        "leaves": 3,
        "is_tree": True,
        "levels": [
            {"level": 1, "nodes": 2, "leaves": 1},
            {"level": 2, "nodes": 2, "leaves": 1},
            {"level": 3, "nodes": 1, "leaves": 1},
        ],
        "ancestor_pairs": 4,
        "most_children": 2,
        "nodes_with_several_parents": [],
        "only_children": 1,
        "repeated_names": ["Lease"],
    }


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("id,parent\na,b\nb,a\n", [], "tree.csv: a taxonomy goes in a circle"),
        ("id,parent\na,\nb,aa\n", [], "tree.csv, row 2: node 'b' has the parent 'aa'"),
        ("id,parent\na,\na,\n", [], "tree.csv, row 2: node 'a' was there before"),
        ("id,parent\n,x\n", [], "tree.csv, row 1: column 'id' holds ''"),
        ("id,parent\na\n", [], "tree.csv, row 1: line 2: 1 fields"),
        ("", [], "tree.csv: holds no node"),
        (TREE, ["--parent-column", "parnt"], "no column 'parnt'; did you mean 'parent'?"),
        (TREE, ["--encoding", "nope"], "--encoding='nope'"),
        (TREE, ["--separator", " "], "--separator=' ' is not allowed"),
        (TREE, ["--json", "/proc/none/facts.json"], "cannot be written"),
        (TREE, ["--output", "v.parquet"], "--output is of embed, not of check"),
    ],
)
def test_what_is_no_tree_is_one_line(
    tmp_path: Path, text: str, arguments: list[str], said: str
) -> None:
    path = tmp_path / "tree.csv"
    path.write_text(text, encoding="utf-8")
    error = refuse("hierbert", "taxonomy", "check", path, *arguments, here=True)
    assert said in error


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    error = refuse("hierbert", "taxonomy", "check", tmp_path / "none.csv", here=True)
    assert "there is no file or folder" in error


def test_names_give_a_terminal_no_orders(tmp_path: Path) -> None:
    path = tmp_path / "tree.jsonl"
    names = ["\x1b[31mred", "\x1b[31mred"]
    rows = [{"id": str(n), "parent": None, "name": name} for n, name in enumerate(names)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "\x1b" not in succeed("hierbert", "taxonomy", "check", path, here=True).stdout


def embed(*arguments: str | Path) -> tuple[str, ...]:
    return ("hierbert", "taxonomy", "embed", *map(str, arguments))


def test_nodes_get_vectors_that_are_scored_and_written(tree: Path) -> None:
    path, facts = tree.with_name("v.parquet"), tree.with_name("facts.json")
    asked = embed(tree, "--output", path, "--dimensions", "3", "--epochs", "20", "--json", facts)
    printed = succeed(*asked, here=True).stdout
    assert "5 nodes in 3 dimensions, 4 pairs" in printed
    assert "Poincare ball" in printed and "Plane" in printed
    table = parquet.read_table(path)
    assert table.column_names == ["id", "vector"]
    assert table["id"].to_pylist() == ["law", "lease", "loan", "sub", "note"]
    points = np.array(table["vector"].to_pylist())
    assert points.shape == (5, 3) and (np.linalg.norm(points, axis=1) < 1).all()
    found = json.loads(facts.read_text("utf-8"))
    assert found["nodes"] == 5 and 0 < found["ball"]["map"] <= 1 <= found["ball"]["mean_rank"]
    assert "exists; --overwrite replaces it" in refuse(*asked, here=True)
    before = path.read_bytes()
    succeed(*asked, "--overwrite", "--euclidean", here=True)
    about = json.loads(parquet.read_schema(path).metadata[b"hierbert"])
    assert about["geometry"] == "plane" and path.read_bytes() != before


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (TREE, [], "embed needs --output FILE.parquet"),
        (TREE, ["--output", "v.txt"], "allowed: .parquet"),
        (TREE, ["--output", "/proc/none/v.parquet"], "cannot be written"),
        (TREE, ["--output", "v.parquet", "--dimensions", "0"], "'0' is not allowed"),
        (TREE, ["--output", "v.parquet", "--held-out", "0.6"], "'0.6' is not allowed: 0 to 0.5"),
        (TREE, ["--output", "v.parquet", "--seed", "-1"], "'-1' is not allowed"),
        ("id,parent\na,\n", ["--output", "v.parquet"], "no node has another above it"),
    ],
)
def test_what_cannot_be_embedded_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tree.csv"
    path.write_text(text, encoding="utf-8")
    assert said in refuse(*embed(path, *arguments), here=True)
    assert [one.name for one in tmp_path.iterdir()] == ["tree.csv"]
