"""`hierbert taxonomy check`: what it prints and writes of a tree, and what it refuses."""

import json
from pathlib import Path

import pytest
from commands import refuse, succeed

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
