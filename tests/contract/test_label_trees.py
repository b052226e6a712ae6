"""Labels that have parents: trained, answered, scored and shown as a user meets them."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import read_jsonl, refuse, succeed, write_jsonl
from conftest import make_rows
from transformers import pipeline

from hierbert import HierBert, HierBertError

PATHS = [["art", "music", "jazz"], ["art", "music", "opera"], ["art", "film"], ["law"]]
NODES = [
    {"id": "art"},
    {"id": "law"},
    *({"id": one, "parent": "art"} for one in ("music", "film")),
    *({"id": one, "parent": "music"} for one in ("jazz", "opera", "choir")),
]
PARENTS = {node["id"]: node.get("parent") for node in NODES}


def corpus(count: int, seed: int) -> list[dict[str, Any]]:
    """Documents of which the words tell the path."""
    rows = []
    for number, row in enumerate(make_rows(count, seed=seed, sentences=4)):
        path = PATHS[number % len(PATHS)]
        words = " ".join(f"{name} {name}ish." for name in path)
        rows.append({"id": row["id"], "text": f"{row['text']} {words}", "path": path})
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trees")
    write_jsonl(root / "train.jsonl", corpus(48, 1))
    write_jsonl(root / "test.jsonl", corpus(12, 2))
    write_jsonl(root / "tree.jsonl", NODES)
    return root


def settings(root: Path, encoder: Path, *more: str) -> list[str]:
    given: dict[str, Any] = {
        "data.train": root / "train.jsonl",
        "data.test": root / "test.jsonl",
        "model.encoder": encoder,
        "model.aggregator_layers": 1,
        "run_dir": root / "run",
        "segmentation.max_tokens_per_segment": 32,
        "training.epochs": 1,
    }
    given |= dict(one.split("=", 1) for one in more)
    return ["--config", "configs/label_tree.yaml", *(f"{k}={v}" for k, v in given.items())]


@pytest.fixture(scope="module")
def run(folder, encoders) -> tuple[Path, Any]:
    """A run of paths, in a tree that has a node more."""
    more = f"data.taxonomy={folder / 'tree.jsonl'}"
    done = succeed("train.py", *settings(folder, encoders["bert"], more), here=True)
    return folder / "run", done


def consistent(row: dict[str, Any]) -> bool:
    path = row["path"]
    above = [None, *path][: len(path)]
    return [PARENTS[node] for node in path] == above and row["label"] == (path or [None])[-1]


def test_a_run_learns_the_tree_and_says_so(run) -> None:
    where, done = run
    assert "a tree of 7 nodes in column 'path', 5 of them leaves, on 3 levels" in done.stderr
    assert "leaves of no training document: 1" in done.stderr
    for title in ("Hierarchical F1", "Most frequent path", "Levels of the tree", "words alone"):
        assert title in done.stdout
    results = json.loads((where / "results.json").read_text(encoding="utf-8"))
    scores = results["scores"]
    assert scores["hf1"] > results["majority"]["hf1"] and scores["hf1"] > 0.9
    assert [level["documents"] for level in results["tree"]["levels"]] == [12, 9, 6]
    assert results["tree"]["consistent"] == 1.0 and results["tree"]["unseen"] == 0.0
    assert len(results["calibration"]["levels"]) == 3
    page = (where / "report.html").read_text(encoding="utf-8")
    assert "Levels of the tree" in page


@pytest.mark.parametrize("more", [[], ["--depth", "1"], ["--min-probability", "0.99999"]])
def test_answers_are_paths_whose_nodes_have_their_parents(run, folder, tmp_path, more) -> None:
    output = tmp_path / "answers.jsonl"
    given = ["--model", run[0] / "model", "--input", folder / "test.jsonl", "--output", output]
    succeed("infer.py", *given, *more, here=True)
    rows = read_jsonl(output)
    assert len(rows) == 12 and all(consistent(row) for row in rows)
    for row in rows:
        shares = row["probabilities"]
        for node in row["path"]:
            siblings = {other for other in PARENTS if PARENTS[other] == PARENTS[node]}
            assert siblings <= shares.keys()
        for node, parent in PARENTS.items():
            if parent is not None and node in shares and parent in shares:
                assert shares[node] <= shares[parent] + 1e-6
        assert sum(shares[one] for one in ("art", "law")) == pytest.approx(1, abs=1e-5)
        if more[:1] == ["--min-probability"]:
            assert all(shares[node] >= 0.99999 for node in row["path"])
    depths = {len(row["path"]) for row in rows}
    assert max(depths) <= 1 if more else max(depths) == 3


def test_answers_in_tables(run, folder, tmp_path) -> None:
    answers = {}
    for ending in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"answers.{ending}"
        given = ["--model", run[0] / "model", "--input", folder / "test.jsonl", "--output", output]
        succeed("infer.py", *given, here=True)
        answers[ending] = output
    rows = read_jsonl(answers["jsonl"])
    with answers["csv"].open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    table = pd.read_parquet(answers["parquet"])
    for row, cell, record in zip(rows, cells, table.to_dict("records"), strict=True):
        assert json.loads(cell["path"]) == row["path"] == list(record["path"])
        assert json.loads(record["probabilities"]) == pytest.approx(row["probabilities"])
        assert record["label"] == row["label"]


def test_from_python_and_from_transformers(run, folder) -> None:
    model = HierBert.from_pretrained(run[0] / "model")
    texts = [row["text"] for row in read_jsonl(folder / "test.jsonl")][:4]
    found = model.classify(texts, evidence=True, top_labels=2)
    assert [one.path for one in found] == [
        path[: len(one.path)] for one, path in zip(found, PATHS, strict=True)
    ]
    assert all(one.evidence[0]["label"] == one.label for one in found)
    assert all(one.top_labels[0]["label"] in ("jazz", "opera", "film", "law") for one in found)
    short = model.classify(texts, depth=1)
    assert [one.path for one in short] == [[path[0]] for path in PATHS]
    with pytest.raises(HierBertError, match="threshold is for a model of multi_label"):
        model.classify(texts, threshold=0.5)
    ask = pipeline("document-classification", model=str(run[0] / "model"), trust_remote_code=True)
    answer = ask(texts[0])
    assert answer["path"] == found[0].path
    assert answer["score"] == answer["probabilities"][answer["label"]]
    # The likeliest node is one at the top.
    assert answer["score"] <= answer["probabilities"]["art"]


def test_a_labelled_file_is_scored(run, folder, tmp_path) -> None:
    model = HierBert.from_pretrained(run[0] / "model")
    rows = read_jsonl(folder / "test.jsonl")
    by_path = model.evaluate([{**row, "label": row["path"]} for row in rows])
    by_node = model.evaluate([{**row, "label": row["path"][-1]} for row in rows])
    results = json.loads((run[0] / "results.json").read_text(encoding="utf-8"))
    assert by_path == by_node
    assert by_path["hf1"] == pytest.approx(results["scores"]["hf1"])
    output = tmp_path / "evaluated"
    given = ["--model", run[0] / "model", "--input", folder / "test.jsonl", "--output", output]
    done = succeed("hierbert-evaluate", *given, "--label-column", "path", here=True)
    assert "Levels of the tree" not in done.stdout  # without training documents
    assert "Hierarchical F1" in done.stdout


def test_pages_show_the_path(run, folder, tmp_path) -> None:
    output, pages = tmp_path / "answers.jsonl", tmp_path / "pages"
    given = ["--model", run[0] / "model", "--input", folder / "test.jsonl", "--output", output]
    succeed("infer.py", *given, "--html", pages, here=True)
    first = read_jsonl(output)[0]["path"]
    page = next(iter(sorted(pages.rglob("*1.html")))).read_text(encoding="utf-8")
    shown = " › ".join(f"<bdi>{node}</bdi>" for node in first)
    assert shown in page


def test_several_paths_in_a_graph(folder, encoders, tmp_path) -> None:
    nodes = [*NODES, {"id": "copyright", "parents": ["art", "law"]}]
    tree = write_jsonl(tmp_path / "tree.jsonl", nodes)
    rows = []
    for number, row in enumerate(corpus(48, 3)):
        labels = [row["path"][-1]]
        text = row["text"]
        if number % 3 == 0:
            labels.append("copyright")
            text += " copyright copyright reserved."
        rows.append({"id": row["id"], "text": text, "path": labels})
    write_jsonl(tmp_path / "train.jsonl", rows[:36])
    write_jsonl(tmp_path / "test.jsonl", rows[36:])
    more = [f"data.taxonomy={tree}", "data.multi_path=true"]
    done = succeed("train.py", *settings(tmp_path, encoders["bert"], *more), here=True)
    assert "Hierarchical F1" in done.stdout
    model = HierBert.from_pretrained(tmp_path / "run" / "model")
    for row in model.classify([row["text"] for row in rows[36:]], threshold=0.4):
        assert len(row.labels) == len(row.paths)
        assert all(path[-1] == label for path, label in zip(row.paths, row.labels, strict=True))
        for label in row.labels:
            if label == "copyright":
                assert {"art", "law"} <= row.probabilities.keys()


def test_paths_in_one_cell(folder, encoders, tmp_path) -> None:
    for name in ("train", "test"):
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "topic"])
            for row in read_jsonl(folder / f"{name}.jsonl"):
                writer.writerow([row["id"], row["text"], "/".join(row["path"])])
    own = [f"data.{name}={tmp_path / name}.csv" for name in ("train", "test")]
    more = [
        *own,
        "data.label_column=topic",
        "data.label_separator=/",
        f"run_dir={tmp_path / 'run'}",
    ]
    done = succeed("train.py", *settings(folder, encoders["bert"], *more), here=True)
    assert "a tree of 6 nodes in column 'topic', 4 of them leaves" in done.stderr
    rows = [{"text": "x", "label": "art/music/choir"}]
    model = HierBert.from_pretrained(tmp_path / "run" / "model")
    with pytest.raises(HierBertError, match="no node 'choir'"):
        model.evaluate(rows, label_separator="/")


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([["art", "film"]] * 2, ["data.taxonomy=TREE"], "nothing to learn"),
        ([["a"], ["a", "b"], ["a", "b", "c"]], [], "no node has a sibling"),
        ([["a", ""], ["b"]], [], "column 'path' holds"),
        ([["art", "jazz"], ["law"]], ["data.taxonomy=TREE"], "the tree has 'jazz' at"),
        ([["art", "musik"], ["law"]], ["data.taxonomy=TREE"], "did you mean 'music'"),
        ([["art", "film"], ["law"]], ["data.taxonomy=DAG"], "multi_path"),
        ([["art", "film"], ["law"]], ["data.taxonomy=CIRCLE"], "goes in a circle"),
        ([["art", "film"], ["law"]], ["data.taxonomy=LOST"], "which is no node"),
        ([["art", "film"], ["law"]], ["data.taxonomy=nowhere.jsonl"], "nowhere.jsonl"),
        ([["art", "film"], ["law"]], ["training.class_weights=balanced"], "class_weights"),
        ([["art", "film"], ["law"]], ["data.label_type=single_label"], "list"),
        ([["art", "film"], ["law"]], ["data.empty_label=none"], "empty_label"),
        ([["art", "film"], ["law"]], ["model.abstain_below=0.5"], "abstain_below"),
        ([None, []], [], "no document has a label"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(rows, more, said, folder, encoders, tmp_path) -> None:
    trees = {
        "TREE": NODES,
        "DAG": [*NODES, {"id": "x", "parents": ["art", "law"]}],
        "CIRCLE": [{"id": "art", "parent": "film"}, {"id": "film", "parent": "art"}],
        "LOST": [{"id": "art", "parent": "nobody"}],
    }
    own = [{"id": str(n), "text": f"A text {n}.", "path": path} for n, path in enumerate(rows)]
    arguments = [f"data.train={write_jsonl(tmp_path / 'own.jsonl', own)}", "data.test="]
    for one in more:
        key, _, value = one.partition("=")
        if value in trees:
            rows_of_tree = [{"parents": [], **node} for node in trees[value]]
            for node in rows_of_tree:
                if parent := node.pop("parent", None):
                    node["parents"] = [parent]
            one = f"{key}={write_jsonl(tmp_path / 'nodes.jsonl', rows_of_tree)}"
        arguments.append(one)
    given = settings(folder, encoders["bert"], *arguments, f"run_dir={tmp_path / 'run'}")
    assert said in refuse("train.py", *given, here=True)
