"""Labels that have parents: trained, answered, scored and shown as a user meets them."""

import ast
import contextlib
import csv
import io
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, refuse, succeed, write_jsonl
from commands import run as command
from conftest import make_rows
from pyarrow import parquet
from small_runs import bits_of, signal_at_step
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
ODD = [
    ["<script>alert(1)</script>", "two\nlines"],
    ["<script>alert(1)</script>", "a > b"],
    ["x/y;z"],
]


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
    depths = [len(row["path"]) for row in rows]
    if not more:
        assert max(depths) == 3
        # What the run scored is what the saved model answers.
        scored = {row["id"]: row["classification"] for row in read_jsonl(run[0] / "answers.jsonl")}
        assert [row["path"] for row in rows] == [scored[row["id"]]["hierbert"] for row in rows]
    elif more[0] == "--depth":
        assert max(depths) == 1


@pytest.mark.parametrize("least", ["0", "1"])
def test_answers_in_tables(run, tmp_path, least) -> None:
    # Words that the model has not met are sure of nothing.
    texts = [{"id": "0", "text": "jazz music art"}, {"id": "1", "text": "Unheard of."}]
    asked = write_jsonl(tmp_path / "asked.jsonl", texts)
    answers = {}
    for ending in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"answers.{ending}"
        given = ["--model", run[0] / "model", "--input", asked, "--output", output]
        succeed("infer.py", *given, "--min-probability", least, here=True)
        answers[ending] = output
    rows = read_jsonl(answers["jsonl"])
    if least == "1":
        assert (rows[1]["label"], rows[1]["path"]) == (None, [])
        assert rows[1]["probabilities"].keys() >= {"art", "law"}
    else:
        assert all(len(row["path"]) >= 1 for row in rows)
    with answers["csv"].open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    records = parquet.read_table(answers["parquet"]).to_pylist()
    for row, cell, record in zip(rows, cells, records, strict=True):
        assert json.loads(cell["path"]) == row["path"] == record["path"]
        assert json.loads(record["probabilities"]) == pytest.approx(row["probabilities"])
        assert record["label"] == row["label"] and cell["label"] == (row["label"] or "")


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


def test_pages_show_the_path_and_what_speaks_for_it(run, folder, tmp_path) -> None:
    output, pages = tmp_path / "answers.jsonl", tmp_path / "pages"
    given = ["--model", run[0] / "model", "--input", folder / "test.jsonl", "--output", output]
    succeed("infer.py", *given, "--evidence", "--html", pages, here=True)
    rows = read_jsonl(output)
    for row, asked in zip(rows, read_jsonl(folder / "test.jsonl"), strict=True):
        (found,) = row["evidence"]
        assert found["label"] == row["label"]
        assert {word["text"] for word in found["words"][:2]} <= set(
            re.findall(r"\w+", asked["text"])
        )
    first = rows[0]["path"]
    page = next(iter(sorted(pages.rglob("*1.html")))).read_text(encoding="utf-8")
    shown = " › ".join(f"<bdi>{node}</bdi>" for node in first)
    assert shown in page


@pytest.fixture(scope="module")
def several(encoders, tmp_path_factory) -> tuple[Path, list[dict[str, Any]]]:
    """A run of several nodes a document, in a graph, and its test documents."""
    root = tmp_path_factory.mktemp("several")
    # Most rows say parent, one says parents.
    tree = write_jsonl(
        root / "tree.jsonl", [*NODES, {"id": "copyright", "parents": ["art", "law"]}]
    )
    rows = []
    for number, row in enumerate(corpus(48, 3)):
        # A document's paths are nodes, or lists of names from the top.
        labels, text = [row["path"] if number % 2 else row["path"][-1]], row["text"]
        if number % 3 == 0:
            labels.append("copyright")
            text += " copyright copyright reserved."
        rows.append({"id": row["id"], "text": text, "path": labels})
    write_jsonl(root / "train.jsonl", rows[:36])
    write_jsonl(root / "test.jsonl", rows[36:])
    more = [f"data.taxonomy={tree}", "data.multi_path=true"]
    done = succeed("train.py", *settings(root, encoders["bert"], *more), here=True)
    assert "a tree of 8 nodes" in done.stderr and "on 3 levels" in done.stderr
    assert "Hierarchical F1" in done.stdout
    return root / "run", rows[36:]


def test_several_paths_in_a_graph(several) -> None:
    model = HierBert.from_pretrained(several[0] / "model")
    ways = {path[-1]: path for path in PATHS}
    answered = []
    for row in model.classify([row["text"] for row in several[1]], threshold=0.4):
        # The first path to each label; more where it has several parents, each of them on one.
        shown = {node for path in row.paths for node in path}
        assert len(row.labels) <= len(row.paths)
        assert ("copyright" in row.labels) <= ({"art", "law"} <= shown)
        for path, label in zip(row.paths, row.labels, strict=False):
            answered.append(label)
            if label == "copyright":
                assert path in (["art", "copyright"], ["law", "copyright"])
                assert {"art", "law"} <= row.probabilities.keys()
            elif label in ways:
                assert path == ways[label]
    assert {"copyright", "jazz"} <= set(answered)
    (none,) = model.classify([several[1][0]["text"]], threshold=1.0)
    assert (none.labels, none.paths) == ([], [])


@pytest.mark.parametrize("kind", ["run", "several"])
def test_the_card_tells_of_the_tree_and_its_code_runs(
    kind, request, folder, tmp_path, monkeypatch
) -> None:
    model, page = request.getfixturevalue(kind)[0] / "model", tmp_path / "card.md"
    push = ["hierbert-push", model, "--repo", "alice/demo", "--dry-run", "--card-out", page]
    succeed(*push, here=True)
    card = page.read_text(encoding="utf-8")
    assert str(folder) not in card and str(model.parent.parent) not in card
    assert "taxonomy: tree.jsonl" in card and "applies from" not in card
    assert re.search(r"(?m)^\| music \| art \|", card)
    if kind == "run":
        assert "gives each document a path in a tree of 7 labels" in card
        assert re.search(r"(?m)^\| choir \| music \| 0 \| 0 \|$", card)
        assert "- 1 of its 7 labels had no training document" in card
        cost = json.loads((model / "config.json").read_bytes())["label_tree"]["cost"]
        assert f"each less {cost:g} (`label_tree`" in card
    else:
        assert "its paths in a tree of 8 labels" in card and "| copyright | art, law |" in card
    monkeypatch.chdir(tmp_path)
    text = "jazz music art. jazzish musicish artish."
    Path("document.txt").write_text(text, encoding="utf-8")
    (answer,) = HierBert.from_pretrained(model).classify([text])
    path = answer.path if kind == "run" else answer.paths
    printed = []
    for code in re.findall(r"(?s)```python\n(.*?)```", card):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code.replace("alice/demo", str(model)), {})
        printed.append(out.getvalue().strip())
    assert printed[0].startswith(f"{path} {{") and printed[2] == str(path)
    # The three likeliest of the model alone are those of the answer.
    likeliest = ast.literal_eval(printed[1])
    expected = sorted(answer.probabilities.values())[: -len(likeliest) - 1 : -1]
    assert list(likeliest.values()) == pytest.approx(expected, abs=1e-5)


def test_a_run_that_was_stopped_goes_on_with_the_same_tree_alone(
    run, folder, encoders, tmp_path
) -> None:
    tree = write_jsonl(tmp_path / "tree.jsonl", NODES)
    mine = settings(
        folder, encoders["bert"], f"data.taxonomy={tree}", f"run_dir={tmp_path / 'run'}"
    )
    with signal_at_step(1, signal.SIGTERM):
        assert command("train.py", *mine, here=True).returncode == 143
    resume = ["train.py", *mine, "--resume"]
    write_jsonl(tree, [*NODES[:-1], {"id": "poem", "parent": "art"}])
    error = refuse(*resume, here=True)
    assert "data.taxonomy: 1 added ('poem'), 1 removed ('choir')" in error
    write_jsonl(tree, NODES)
    succeed(*resume, here=True)
    assert bits_of(tmp_path / "run") == bits_of(run[0])


def test_names_that_are_no_words(encoders, tmp_path) -> None:
    rows = [row | {"path": ODD[n % 3]} for n, row in enumerate(corpus(24, 4))]
    for name in ("train", "test"):
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    succeed(
        "train.py", *settings(tmp_path, encoders["bert"], "training.calibrate=false"), here=True
    )
    model, output = tmp_path / "run" / "model", tmp_path / "answers.csv"
    given = ["--model", model, "--input", tmp_path / "test.jsonl", "--output", output]
    succeed("infer.py", *given, "--html", tmp_path / "pages", here=True)
    with output.open(encoding="utf-8", newline="") as file:
        answers = list(csv.DictReader(file))
    for row in answers:
        path = json.loads(row["path"])
        assert path in [one[: len(path)] for one in ODD] and row["label"] == path[-1]
    card = tmp_path / "card.md"
    push = ["hierbert-push", model, "--repo", "alice/demo", "--dry-run", "--card-out", card]
    succeed(*push, here=True)
    pages = [card, *tmp_path.rglob("*.html")]
    assert len(pages) == 27
    assert [page for page in pages if "<script>alert" in page.read_text(encoding="utf-8")] == []
    assert any("&lt;script&gt;alert" in page.read_text(encoding="utf-8") for page in pages[1:])


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
        ([["a"], ["a"]], [], "no node has a sibling (1 in a row)"),
        ([["a", ""], ["b"]], [], "column 'path' holds"),
        (["shoes", "law"], ["data.taxonomy=TWICE"], "which the tree has at 2 places"),
        ([[["law"], ["art"]], ["law"]], [], "several paths"),
        ([["art", "film"], ["law"]], ["data.taxonomy=REPEATED"], "was there before"),
        ([["art", "film"], ["law"]], ["data.taxonomy=NOTHING"], "say of no tree"),
        ([["art", "film"], ["law"]], ["data.label_separator=' '"], "label_separator"),
        ([["art", "film"], ["law"]], ["model.tree_decision=best"], "tree_decision"),
        ([["art", "film"], ["law"]], ["model.min_probability=2"], "min_probability"),
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
        "TWICE": [
            *({"id": one} for one in ("shop", "rental", "law")),
            {"id": "1", "parent": "shop", "name": "shoes"},
            {"id": "2", "parent": "rental", "name": "shoes"},
        ],
        "REPEATED": [{"id": "art", "parent": None}, {"id": "art", "parent": None}],
        "NOTHING": [{"key": "art"}],
        "LOST": [{"id": "art", "parent": "nobody"}],
    }
    own = [{"id": str(n), "text": f"A text {n}.", "path": path} for n, path in enumerate(rows)]
    arguments = [f"data.train={write_jsonl(tmp_path / 'own.jsonl', own)}", "data.test="]
    for one in more:
        key, _, value = one.partition("=")
        if value in trees:
            one = f"{key}={write_jsonl(tmp_path / 'nodes.jsonl', trees[value])}"
        arguments.append(one)
    given = settings(folder, encoders["bert"], *arguments, f"run_dir={tmp_path / 'run'}")
    assert said in refuse("train.py", *given, here=True)
