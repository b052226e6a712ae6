"""Taxonomies as people write them, and what of it is refused."""

from pathlib import Path
from typing import Any

import pytest

from hierbert.errors import DataError
from hierbert.taxonomy.reading import TaxonomyColumns, read_taxonomy
from hierbert.taxonomy.tree import Taxonomy

ABOVE = {"art": [], "music": ["art"], "opera": ["music"], "film": ["art"]}
FILES = {
    "a.jsonl": '{"id": "opera", "parent": "music"}\n{"id": "art"}\n'
    '{"id": "music", "parent": "art"}\n{"id": "film", "parent": "art"}\n',
    "b.jsonl": '{"id": "art", "parents": []}\n{"id": "music", "parents": ["art"]}\n'
    '{"id": "opera", "parents": ["music"]}\n{"id": "film", "parents": ["art"]}\n',
    "c.csv": "parent,child\nart,music\nmusic,opera\nart,film\n",
    "d.csv": "id,parent\nopera,music\nmusic,art\nart,\nfilm,art\n",
    "e.csv": "path\nart > music > opera\nart > film\n",
    "f.jsonl": '{"path": ["art", "music", "opera"]}\n{"path": ["art", "film"]}\n',
    "h.jsonl": '{"id": "art"}\n{"id": "music", "parents": ["art"]}\n'
    '{"id": "opera", "parent": "music"}\n{"id": "film", "parent": "art", "parents": ["art"]}\n',
    "g.txt": "music\topera\n\nart\tmusic\tfilm\n",
}


def above(taxonomy: Taxonomy) -> dict[str, list[str]]:
    return {
        node: sorted(taxonomy.nodes[one] for one in taxonomy.parents[place])
        for place, node in enumerate(taxonomy.nodes)
    }


@pytest.mark.parametrize("name", FILES)
def test_every_way_to_write_a_tree_gives_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8")
    assert above(read_taxonomy(path)) == ABOVE


def test_rows_in_memory_names_texts_and_columns_of_other_names() -> None:
    rows = [
        {"key": 1, "up": None, "title": "Kunst", "gloss": "what people make"},
        {"key": 2, "up": [1], "title": "Musik", "gloss": None},
    ]
    columns = TaxonomyColumns(id="key", parent="up", name="title", text="gloss")
    found = read_taxonomy(rows, columns)
    assert above(found) == {"1": [], "2": ["1"]}
    assert found.names == ("Kunst", "Musik") and found.texts == ("what people make", None)


def test_where_a_name_stands_twice_paths_are_ids(tmp_path: Path) -> None:
    path = tmp_path / "tree.csv"
    path.write_text("path\nShop > Shoes\nRental > Shoes\n", encoding="utf-8")
    found = read_taxonomy(path)
    assert above(found) == {
        "Shop": [],
        "Rental": [],
        "Shop > Shoes": ["Shop"],
        "Rental > Shoes": ["Rental"],
    }
    assert sorted(found.names) == ["Rental", "Shoes", "Shoes", "Shop"]
    other = read_taxonomy([{"path": "Shop/A > B"}], TaxonomyColumns(separator="/"))
    assert above(other) == {"Shop": [], "A > B": ["Shop"]}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "a", "parent": "b"}], "row 1 .*: node 'a' has the parent 'b', which is no node"),
        (
            [{"id": "music", "parent": None}, {"id": "b", "parent": "musik"}],
            "row 2 .*: node 'b' has the parent 'musik', which is no node; did you mean 'music'",
        ),
        ([{"id": "a", "parents": ["b"]}, {"id": "b", "parent": "c"}], "row 2 .*parent 'c'"),
        ([{"id": "a", "parent": "a"}], "row 1 .*: node 'a' is its own parent"),
        (
            [{"id": "a", "parent": None}, {"id": "a", "parent": None}],
            "row 2 .*: node 'a' was there before, in .*row 1",
        ),
        ([{"id": "a", "parent": "b"}, {"id": "b", "parent": "a"}], "in a circle"),
        ([{"id": None, "parent": "b"}], "column 'id' holds None .*; allowed: the id of a node"),
        ([{"id": "a", "parent": 1.5}], "column 'parent' holds 1.5"),
        ([{"id": True, "parent": None}], "column 'id' holds True"),
        ([{"path": []}], r"column 'path' holds \[\] .*; allowed: a list of names"),
        ([{"path": ["a", " "]}], "column 'path' holds"),
        ([{"path": "a >  > b"}], "column 'path' holds 'a >  > b'"),
        ([{"text": "a"}], "columns 'text' say of no tree; allowed: id and parent"),
        (
            [{"path": ["a", "b > c"]}, {"path": ["x", "b > c"]}, {"path": ["a", "b", "c"]}],
            "two paths are written 'a > b > c'; name a separator",
        ),
    ],
)
def test_what_says_of_no_tree_is_refused_by_place(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_taxonomy(rows)


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="no column 'hypernym'; did you mean 'hypernyms'"):
        read_taxonomy([{"id": "a", "hypernyms": []}], TaxonomyColumns(parent="hypernym"))


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_a_node_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tree.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"{path}: holds no node"):
        read_taxonomy(path)
