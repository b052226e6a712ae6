"""Labels that are nodes of a tree: how documents write them, their numbers, and what is refused."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierbert import ConfigError, DataError
from hierbert.config import RunConfig
from hierbert.extend import Example
from hierbert.settings import load_config
from hierbert.tasks import tree_labels
from hierbert.tasks.labels import UnknownLabel
from hierbert.tasks.tree_labels import TreeLabels
from hierbert.taxonomy.tree import Taxonomy

#     people          places        Number, id and name of each node.
#     /    \             |
#  poets  composers   composers
NODES = ["p", "q", "pp", "pc", "7"]
NAMES = ["People", "Places", "Poets", "Composers", "Composers"]
PARENTS = [[], [], [0], [0], [1]]
KNOWN = Taxonomy(NODES, PARENTS, NAMES)


def examples_of(*labels: Any) -> list[Example]:
    return [
        Example(str(row), "text", {"label": label}, f"my.csv, row {row}")
        for row, label in enumerate(labels, 1)
    ]


def learn(*labels: Any, **kwargs: Any) -> TreeLabels:
    return TreeLabels.learn_tree(examples_of(*labels), **kwargs)


def encoded(learnt: TreeLabels, *labels: Any) -> list[list[int] | None]:
    return [learnt.encode(example) for example in examples_of(*labels)]


@pytest.fixture(autouse=True)
def _information(caplog) -> None:
    caplog.set_level("INFO", "hierbert")


def error_of(function: Any, *labels: Any, kind: type[Exception] = DataError, **kwargs: Any) -> str:
    with pytest.raises(kind) as caught:
        function(*labels, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "tree.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": node, "parents": [NODES[one] for one in above], "name": name}) + "\n"
            for node, above, name in zip(NODES, PARENTS, NAMES, strict=True)
        ),
        encoding="utf-8",
    )
    return str(path)


@pytest.mark.parametrize(
    ("label", "path"),
    [
        ("pc", [0, 3]),
        (" pc ", [0, 3]),
        ("Poets", [0, 2]),
        ("People", [0]),
        (7, [1, 4]),
        (7.0, [1, 4]),
        ("7", [1, 4]),
        (["p", "pc"], [0, 3]),
        (["People", "Composers"], [0, 3]),
        (["Places", "Composers"], [1, 4]),
        (["People", "pc"], [0, 3]),
        (["q", 7], [1, 4]),
        ("Places > Composers", [1, 4]),
        ('["Places", "Composers"]', [1, 4]),
        ("['q', 7]", [1, 4]),
        ([["Places", "Composers"]], [1, 4]),
        (["People"], [0]),
        (None, None),
        ("", None),
        (" ", None),
        ([], None),
        ("[]", None),
        ([[]], None),
    ],
)
def test_a_node_is_named_by_its_id_its_name_or_its_path(label, path) -> None:
    assert encoded(TreeLabels(KNOWN), label) == [path]


@pytest.mark.parametrize(
    ("label", "nodes"),
    [
        (["pc", "Poets"], [0, 2, 3]),
        (["pc", "pc", "p"], [0, 3]),
        ([["People", "Composers"], ["Places", "Composers"]], [0, 1, 3, 4]),
        (["Places > Composers", "pp", ["People"]], [0, 1, 2, 4]),
        ('["Places > Composers", "pp"]', [0, 1, 2, 4]),
        ("pc", [0, 3]),
        ([], None),
        ([[], []], None),
    ],
)
def test_several_paths_are_joined_with_all_above_them(label, nodes) -> None:
    assert encoded(TreeLabels(KNOWN, multi_path=True), label) == [nodes]


def test_all_parents_of_a_node_count() -> None:
    #  0   1
    #   \ / \
    #    2   3
    #     \ /
    #      4
    diamond = Taxonomy("abcde", [[], [], [0, 1], [1], [2, 3]])
    labels = TreeLabels(diamond, multi_path=True)
    assert encoded(labels, "e", "c", "d", ["c", "d"]) == [
        [0, 1, 2, 3, 4],
        [0, 1, 2],
        [1, 3],
        [0, 1, 2, 3],
    ]
    # Any way down is a path.
    assert encoded(labels, [["a", "c", "e"]], "b > d > e") == [[0, 1, 2, 3, 4]] * 2
    assert "several" not in error_of(labels.encode, examples_of([["a", "d", "e"]])[0])


def test_a_tree_of_the_documents_paths(caplog) -> None:
    labels = [["a", "b"], None, ["c"], "a > d", ["a"], [], '["a", "b", "e"]', ["a", "b"]]
    learnt = learn(*labels)
    # By level, each by its path.
    assert learnt.names == ["a", "c", "b", "d", "e"]
    paths: list[Any] = [[0, 2], None, [1], [0, 3], [0], None, [0, 2, 4], [0, 2]]
    assert encoded(learnt, *labels) == paths
    told = caplog.messages[-1]
    for fact in (
        "tree of 5 nodes in column 'label'",
        "3 of them leaves, on 3 levels",
        "leaves of no training document: 0",
        "documents that end above a leaf: 3",
        "unknown (blank) for 2 of 8 documents",
    ):
        assert fact in told
    assert len(caplog.messages) == 1


def test_a_name_under_two_parents_is_two_nodes() -> None:
    labels = [["x", "y"], ["z", "y"], ["y"]]
    learnt = learn(*labels)
    assert learnt.names == ["x", "y", "z", "x > y", "z > y"]
    assert encoded(learnt, *labels, "z > y", "y") == [[0, 3], [2, 4], [1], [2, 4], [1]]
    with_slash = learn("x/y", "z/y", separator="/")
    assert encoded(with_slash, "z/y", ["z", "y"]) == [[1, 3], [1, 3]]


def test_nodes_of_a_file_and_what_documents_lack_of_it(file, caplog) -> None:
    learnt = learn("pc", "p", "p", taxonomy=file)
    assert learnt.names == NODES and learnt.taxonomy == KNOWN
    assert "leaves of no training document: 2" in caplog.messages[-1]
    assert "documents that end above a leaf: 2" in caplog.messages[-1]


@pytest.mark.parametrize("multi_path", [False, True])
def test_the_order_of_documents_changes_nothing(multi_path, caplog) -> None:
    labels = [[str(n % 3), str(n % 7), str(n)] for n in range(40)] + [["0"], None]
    cells = [[one] if one and multi_path else one for one in labels]
    learnt, told = learn(*cells, multi_path=multi_path), caplog.messages[-1]
    random.Random(0).shuffle(cells)
    again = learn(*cells, multi_path=multi_path)
    assert again.names == learnt.names and caplog.messages[-1] == told
    assert again.taxonomy == learnt.taxonomy


NAME = st.text("ab>< \n日", min_size=1, max_size=4).filter(lambda name: name == name.strip() != "")


@given(st.lists(st.lists(NAME, min_size=1, max_size=5), min_size=2, max_size=12))
def test_each_path_is_found_again_with_what_is_above_it(paths) -> None:
    prefixes = {tuple(path[:length]) for path in paths for length in range(1, len(path) + 1)}
    if len({path[:-1] for path in prefixes}) == len(prefixes):
        assert "no node has a sibling" in error_of(learn, *paths)
        return
    try:
        learnt = learn(*paths)
    except DataError as error:
        assert "are written" in str(error)  # names that hold the separator
        return
    assert len(learnt.names) == len(prefixes)
    numbers: dict[tuple[str, ...], int] = {}
    for path, own in zip(paths, encoded(learnt, *paths), strict=True):
        assert own is not None and len(own) == len(path)
        for length, number in enumerate(own, 1):
            assert learnt.taxonomy.names[number] == path[length - 1]
            assert numbers.setdefault(tuple(path[:length]), number) == number
    assert sorted(numbers.values()) == list(range(len(prefixes)))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.randoms())
def test_ids_of_random_trees_give_their_ancestors(draws, order) -> None:
    # Node n + 1 hangs on any before it, or stands at the top.
    parents: list[list[int]] = [[]]
    for node, draw in enumerate(draws, 1):
        above = draw % (node + 1) - 1
        parents.append([above] if above >= 0 else [])
    expected = []
    for node in range(len(parents)):
        path = [node]
        while parents[path[0]]:
            path.insert(0, parents[path[0]][0])
        expected.append(path)
    tree = Taxonomy([f"n{node}" for node in range(len(parents))], parents)
    ids = [f"n{node}" for node in range(len(parents))]
    assert encoded(TreeLabels(tree), *ids) == expected
    assert encoded(TreeLabels(tree), *([ids[one] for one in own] for own in expected)) == expected
    some = order.sample(range(len(parents)), min(3, len(parents)))
    union = sorted({one for node in some for one in expected[node]})
    assert encoded(TreeLabels(tree, multi_path=True), [ids[one] for one in some]) == [union]


def test_odd_names_and_many_levels() -> None:
    odd = ["a > b", "<script>", "two\nlines", "日本語", "\ud800", "x/y;z"]
    learnt = learn(odd, [*odd[:-1], "other"], ["a > b"])
    assert sorted(learnt.names) == sorted([*odd, "other"])
    assert encoded(learnt, odd, "a > b", "x/y;z") == [[0, 1, 2, 3, 4, 6], [0], [0, 1, 2, 3, 4, 6]]
    deep = [str(level) for level in range(1000)]
    learnt = learn(deep, [*deep[:-1], "end"])
    assert encoded(learnt, deep, " > ".join(deep)) == [list(range(1000))] * 2


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("Peeple", ["column 'label'", "no node 'Peeple'", "did you mean 'People'?"]),
        (["People", "Poet"], ["'People > Poet'", "no node 'Poet'", "did you mean 'Poets'?"]),
        (8, ["no node '8'"]),
        (["Places", "Poets"], ["'Places > Poets'", "'People > Poets'", "data.multi_path"]),
        (["Poets", "People"], ["'Poets > People'", "the tree has 'People' at 'People'"]),
        (["Composers", "Poets"], ["'People > Poets'"]),  # not from the top
        (["No", "Composers"], ["'No > Composers'", "People > Composers", "Places > Composers"]),
    ],
)
def test_a_label_that_the_tree_lacks_or_has_elsewhere(label, words) -> None:
    message = error_of(TreeLabels(KNOWN).encode, examples_of(label)[0], kind=UnknownLabel)
    assert message.startswith("my.csv, row 1: ")
    assert [word for word in words if word not in message] == []


def test_the_nearest_of_many_names_is_found() -> None:
    names = [f"kind {number}" for number in range(3000)] + ["Composers"]
    labels = TreeLabels(Taxonomy(names, [[] for _ in names]))
    message = error_of(labels.encode, examples_of("composer")[0])
    assert "did you mean 'Composers'?" in message


@pytest.mark.parametrize(
    ("label", "multi_path", "words"),
    [
        ("Composers", False, ["2 places", "'People > Composers'", "'Places > Composers'", "id"]),
        ([["p", "pc"], ["p", "pp"]], False, ["several paths", "data.multi_path to true"]),
        (["p", None], False, ["None in it", "texts or whole numbers"]),
        (["p", ""], False, ["'' in it"]),
        ("p > ", False, ["'p > '", "'' in it"]),
        (True, False, ["holds True"]),
        (1.5, False, ["1.5 in it"]),
        (float("nan"), False, ["nan in it"]),
        (["p", ["pc"]], False, ["['pc'] in it"]),
        ([["p", ["pc"]]], True, ["['pc'] in it"]),
        ([["p"], []], True, ["an empty path in it"]),
        ({"one": 1}, False, ["{'one': 1} in it"]),
        ('[[["p", "pc"]], ["q"]]', True, ["cannot be read", '["a", "b"]']),
        ("['p' 'pc']", False, ["cannot be read"]),
    ],
)
def test_cells_that_name_no_node_of_a_tree(label, multi_path, words) -> None:
    labels = TreeLabels(KNOWN, field="kind", multi_path=multi_path)
    message = error_of(labels.encode, examples_of(label)[0])
    assert message.startswith("my.csv, row 1: column 'kind' h")
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    "cell", ['[["p", "pc"], ["q"]]', "[['p', 'pc'], ['q']]", '[["p", "pc"], "q"]']
)
def test_lists_of_paths_in_a_cell(cell) -> None:
    labels = TreeLabels(KNOWN, multi_path=True)
    (as_lists,) = examples_of([["p", "pc"], ["q"]])
    assert labels.encode(examples_of(cell)[0]) == labels.encode(as_lists)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([None, [], ""], ["no document has a label in column 'label'", "my.csv, row 1"]),
        ([["a"], ["a"]], ["the paths in column 'label'", "no node has a sibling (1 in a row)"]),
        ([["a", "b", "c"], ["a"]], ["no node has a sibling (3 in a row)"]),
    ],
)
def test_trees_of_which_nothing_is_to_be_learnt(labels, words) -> None:
    message = error_of(learn, *labels)
    assert [word for word in words if word not in message] == []


def test_documents_of_one_path_alone(file) -> None:
    message = error_of(learn, "pc", ["People", "Composers"], taxonomy=file)
    assert "nothing to learn" in message and "'pc'" in message and "my.csv, row 1" in message


def test_a_file_with_two_parents_a_chain_or_no_file(tmp_path, file) -> None:
    path = tmp_path / "own.csv"
    path.write_text("parent,child\na,c\nb,c\n", encoding="utf-8")
    message = error_of(learn, "c", "a", taxonomy=str(path))
    assert message.startswith(f"{path}: node 'c' has several parents, 'a', 'b'")
    assert "data.multi_path to true" in message
    assert encoded(learn("c", "a", taxonomy=str(path), multi_path=True), "c") == [[0, 1, 2]]
    path.write_text("parent,child\na,b\nb,c\n", encoding="utf-8")
    assert f"{path}: no node has a sibling (3" in error_of(learn, "c", "a", taxonomy=str(path))
    assert "'none.jsonl'" in error_of(learn, "c", "a", taxonomy="none.jsonl")
    with pytest.raises(UnknownLabel, match=r"my\.csv, row 2: .* no node 'nobody'"):
        learn("pc", "nobody", taxonomy=file)


def test_paths_of_a_file_are_cut_as_those_of_documents(tmp_path) -> None:
    path = tmp_path / "paths.csv"
    path.write_text("path\na/b\na/c\n", encoding="utf-8")
    learnt = learn("a/b", "c", taxonomy=str(path), separator="/")
    assert learnt.names == ["a", "b", "c"] and encoded(learnt, "a/c") == [[0, 2]]


@pytest.mark.parametrize(
    ("labels", "multi_path", "word"),
    [(["a/b", "a/c"], False, "' > '"), ([["a", "b"], ["a", "c"]], True, "lists of such lists")],
)
def test_labels_that_make_no_tree_are_a_warning(labels, multi_path, word, caplog) -> None:
    learn(*labels, multi_path=multi_path)
    warning = next(one for one in caplog.messages if "this is no tree" in one)
    assert word in warning and "data.label_separator" in warning and "\0" not in warning


def test_alike_names_and_a_large_output_layer_are_warnings(caplog, monkeypatch) -> None:
    learn(["a", "Poets"], ["a", "poets"], ["b"])
    assert any("'Poets', 'poets'" in one for one in caplog.messages)
    monkeypatch.setattr(tree_labels, "_MANY_NODES", 3)
    learn(["a", "b"], ["a", "c"])
    assert not any("output layer" in one for one in caplog.messages)
    learn(["a", "b"], ["a", "c"], ["d"])
    assert any("4 nodes: the output layer" in one for one in caplog.messages)


@pytest.mark.parametrize("separator", ["", " "])
def test_a_separator_of_nothing(separator) -> None:
    with pytest.raises(ConfigError, match=r"data\.label_separator"):
        learn(["a"], ["b"], separator=separator)


def load(*overrides: str) -> RunConfig:
    return load_config(RunConfig, None, ["data.train=t", *overrides])


@pytest.mark.parametrize(
    ("overrides", "is_tree"),
    [
        (["data.taxonomy=t.csv"], True),
        (["data.label_paths=true", "data.multi_path=true"], True),
        (["data.label_type=tree", "data.label_separator=/"], True),
        ([], False),
        (["data.label_type=multi_label"], False),
    ],
)
def test_settings_that_ask_for_a_tree(overrides, is_tree) -> None:
    assert load("data.label_column=path", *overrides).data.has_tree == is_tree


@pytest.mark.parametrize(
    "overrides",
    [
        "data.taxonomy=t.csv data.label_type=single_label data.label_column=a",
        "data.label_paths=true data.label_type=multi_label data.label_column=a",
        "data.multi_path=true data.label_column=a",
        "data.label_column=[a,b] data.taxonomy=t.csv",
        "data.label_column= data.summary_column=s data.taxonomy=t.csv",
        "data.empty_label=none data.label_type=tree data.label_column=a",
    ],
)
def test_settings_that_do_not_go_with_a_tree(overrides) -> None:
    first = overrides.split()[0].split("=")[0]
    message = error_of(load, *overrides.split(), kind=ConfigError)
    assert re.search(rf"{first}\b", message)
