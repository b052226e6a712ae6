"""What the contract tests share: models of public names alone, each saved once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import succeed, write_jsonl
from conftest import make_rows
from small_models import build


@pytest.fixture(scope="session", autouse=True)
def _modules_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Code that comes with a model is not copied into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("modules")
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder))
        yield


LABELS = {0: "art", 1: "law", 2: "a.b"}


def _save(folder: Path, encoder: Path, **settings: Any) -> Path:
    for part in build(encoder, **settings):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def models(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of small models: both heads, and one of each other kind."""
    root = tmp_path_factory.mktemp("models")
    names = {"id2label": LABELS, "label2id": {name: number for number, name in LABELS.items()}}
    kinds: dict[str, dict[str, Any]] = {
        "both": names,
        "summaries": {"classification": False, "max_segments": 2},
        "many": {**names, "summarization": False, "problem_type": "multi_label_classification"},
        "number": {"num_labels": 1, "summarization": False, "problem_type": "regression"},
    }
    return {
        name: _save(root / name, encoders["bert"], **settings) for name, settings in kinds.items()
    }


@pytest.fixture(scope="session")
def trained(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a run with both heads; results and settings lie beside it."""
    root = tmp_path_factory.mktemp("trained")
    settings = {
        "data.train": write_jsonl(root / "train.jsonl", make_rows(12, seed=1)),
        "data.test": write_jsonl(root / "test.jsonl", make_rows(6, seed=2)),
        "data.label_column": "label",
        "data.summary_column": "summary",
        "model.encoder": encoders["bert"],
        "model.aggregator_layers": 1,
        "run_dir": root / "run",
        "segmentation.max_tokens_per_segment": 32,
        "summary.max_sentences": 2,
        "training.epochs": 1,
        "baselines": "false",
    }
    succeed("train.py", *(f"{name}={value}" for name, value in settings.items()), here=True)
    return root / "run" / "model"
