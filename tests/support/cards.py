"""The results of a run that never was, and the model card that tells them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hierbert import HierBertConfig
from hierbert.config import RunConfig
from hierbert.publishing.card import render_card
from hierbert.publishing.runs import Run
from hierbert.settings import load_config

RESULTS = {
    "split": "test",
    "documents": 40,
    "seed": 0,
    "epochs": 3,
    "steps": 30,
    "best_step": 20,
    "scores": {
        "accuracy": 0.9,
        "macro_f1": 0.875,
        "micro_f1": 0.9,
        "weighted_f1": 0.88,
        "loss": 0.4,
        "rouge1": 0.344,
        "rouge2": 0.097,
        "rougeL": 0.2,
        "rougeLsum": 0.29,
    },
    "majority": {"accuracy": 0.55, "macro_f1": 0.35, "micro_f1": 0.55, "weighted_f1": 0.4},
    "intervals": {"accuracy": {"low": 0.8, "high": 0.975}, "macro_f1": {"low": 0.77, "high": 0.95}},
    "per_label": {
        "labels": [
            {"label": "a|b", "precision": 1.0, "recall": 0.75, "f1": 0.857, "support": 12},
            {"label": "<b>*", "precision": 0.9, "recall": 1.0, "f1": 0.947, "support": 28},
        ],
        "confusion": [[9, 3], [0, 28]],
    },
    "budget": {"name": "max_words", "limit": 67.0},
    "summaries": {
        "systems": {
            name: {
                kind: {"mean": mean, "low": mean - 0.01, "high": mean + 0.02}
                for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum")
            }
            for name, mean in (("LexRank", 0.311), ("hierbert", 0.344), ("Oracle", 0.497))
        },
        "gain": {
            "LexRank": {"mean": 0.033, "low": 0.016, "high": 0.052, "p": 0.001},
            "Oracle": {"mean": -0.1, "low": -0.2, "high": -0.1, "p": 0.001},
        },
    },
    "label_counts": {"a|b": 1200, "<b>*": 34},
    "lengths": {
        "train": {
            "documents": 1234,
            "median_tokens": 5856,
            "p90_tokens": 9001,
            "longest_tokens": 31000,
            "tokens": 7000000,
        }
    },
    "resources": {
        "device": "Some CPU",
        "processes": 1,
        "threads": 2,
        "encoding_tokens_per_second": 5807.3,
        "training_seconds": 63.0,
        "peak_memory_mib": 1400.6,
    },
    "environment": {"hierbert": "0.1.0", "torch": "2.13.0"},
}


def config_of(names: Sequence[str] = ("a|b", "<b>*"), **settings: Any) -> HierBertConfig:
    """The configuration of a model with these labels."""
    return HierBertConfig(
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        **{"problem_type": "single_label_classification", **settings},
    )


CONFIG = config_of(summarization=True, summary_limit=67.0)


def card_of(results: dict | None = RESULTS, config: HierBertConfig = CONFIG, *more: str) -> str:
    run_config = load_config(
        RunConfig,
        None,
        [
            "data.train=/home/alice/secret/train.jsonl",
            "data.test=/home/alice/secret/test.jsonl",
            "data.label_column=label",
            "run_dir=/home/alice/secret/runs/x",
            *more,
        ],
    )
    run = Run(Path("/home/alice/secret/runs/x"), run_config, results)
    return render_card("alice/demo", config, 28_600_000, run, "apache-2.0")
