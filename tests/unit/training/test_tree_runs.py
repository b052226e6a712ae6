"""Runs whose labels are a tree: what goes on with them, and what their model knows of it."""

import json

import torch
from commands import write_jsonl
from conftest import make_rows
from safetensors.torch import load_file
from training import error_of

from hierbert import HierBert
from hierbert.cli.train import main

PATHS = [["shop", "shoes"], ["rental", "shoes"], ["shop", "hats"]]


def test_a_taxonomy_that_changed_is_refused_by_its_nodes(arguments, tmp_path, capsys) -> None:
    nodes = [{"id": "shop"}, {"id": "shoes", "parent": "shop"}, {"id": "hats", "parent": "shop"}]
    rows = [row | {"label": ["shoes", "hats"][n % 2]} for n, row in enumerate(make_rows(8, seed=1))]
    tree = write_jsonl(tmp_path / "tree.jsonl", nodes)
    more = [f"data.train={write_jsonl(tmp_path / 'own.jsonl', rows)}", "training.epochs=1"]
    run = arguments(*more, f"data.taxonomy={tree}", "data.validation=", "data.test=")
    assert main(run) == 0
    # No document has it, and no number of a node changes.
    write_jsonl(tree, [*nodes[:2], nodes[2] | {"name": "Hats"}, {"id": "toys"}])
    error = error_of(capsys, [*run, "--resume"])
    assert "data.taxonomy: 1 added ('toys'), 1 changed ('hats')" in error
    write_jsonl(tree, nodes)
    assert main([*run, "--resume"]) == 0


def test_a_model_reads_paths_as_its_training_did(arguments, tmp_path) -> None:
    rows = [row | {"label": PATHS[n % 3]} for n, row in enumerate(make_rows(9, seed=1))]
    path = write_jsonl(tmp_path / "own.jsonl", rows)
    more = [f"data.train={path}", "data.label_type=tree", "data.validation=", "data.test="]
    assert main(arguments(*more)) == 0
    folder = tmp_path / "run" / "model"
    model = HierBert.from_pretrained(folder)
    by_path = model.evaluate(path, label_column="label")
    # Nodes of several places are called by their paths.
    ids = [["shop > shoes", "rental > shoes", "shop > hats"][n % 3] for n in range(9)]
    by_id = model.evaluate([row | {"label": own} for row, own in zip(rows, ids, strict=True)])
    assert by_path == by_id and 0 <= by_path["hf1"] <= 1
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["label_tree"]["names"] == ["rental", "shop", "shoes", "hats", "shoes"]


def test_a_model_is_trained_on_where_its_tree_is_the_same(arguments, tmp_path) -> None:
    nodes = [{"id": "shop"}, {"id": "shoes", "parent": "shop"}, {"id": "hats", "parent": "shop"}]
    rows = [row | {"label": ["shoes", "hats"][n % 2]} for n, row in enumerate(make_rows(8, seed=1))]
    tree = write_jsonl(tmp_path / "tree.jsonl", nodes)
    more = [f"data.train={write_jsonl(tmp_path / 'own.jsonl', rows)}", "training.epochs=1"]
    more += [f"data.taxonomy={tree}", "data.validation=", "data.test=", "training.calibrate=false"]

    def head_of(name: str) -> torch.Tensor:
        weights = load_file(tmp_path / name / "model" / "model.safetensors")
        return weights["classifier.output.weight"]

    assert main(arguments(*more)) == 0
    # Nothing is learnt any more.
    still = ["training.head_learning_rate=1e-12", "training.encoder_learning_rate=1e-12"]
    more += [*still, f"model.start_from={tmp_path / 'run' / 'model'}", "model.encoder="]
    more.append("model.aggregator_layers=")
    assert main(arguments(*more, f"run_dir={tmp_path / 'same'}")) == 0
    torch.testing.assert_close(head_of("same"), head_of("run"), atol=1e-9, rtol=0)
    # As many nodes, with the same names in the same order.
    write_jsonl(tree, [*nodes[:2], {"id": "hats"}])
    assert main(arguments(*more, f"run_dir={tmp_path / 'other'}")) == 0
    assert (head_of("other") - head_of("run")).abs().max() > 1e-3
    config = json.loads((tmp_path / "other" / "model" / "config.json").read_bytes())
    assert config["label_tree"]["parents"] == [[], [0], []]
