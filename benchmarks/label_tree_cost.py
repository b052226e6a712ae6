"""What an answer of a tree of labels costs beside one of a flat head over its leaves.

    python benchmarks/label_tree_cost.py --data FOLDER

Documents and tree of hwv, the same encoder, both heads with words and vectors beside their layers
(the tree's with the names of its nodes too), at weights of zero, which cost the same time. Text in,
answer out, in interleaved rounds: medians of the ratio, least and greatest in brackets.
"""

import argparse
import gzip
import json
import sys
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from transformers import AutoTokenizer

from benchmarks.common.figures import Spread, ratios
from benchmarks.common.machine import GemmProbe
from benchmarks.common.models import Shape
from benchmarks.common.report import DEFAULT_ENCODER, RESULTS
from benchmarks.common.rounds import run_rounds
from hierbert import HierBert, Taxonomy, read_taxonomy
from hierbert.loading.encoders import resolve_encoder
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.tree import TreeSettings
from hierbert.model.words import buckets_for


def model_of(labels: list[str], **settings: Any) -> HierBert:
    """A model of these labels."""
    source = resolve_encoder(DEFAULT_ENCODER)
    members = ["words", "vectors", *(["names"] if "label_tree" in settings else [])]
    words = {"buckets": buckets_for(len(labels)), "labels": len(labels), "pairs": True}
    torch.manual_seed(0)
    model = HierBertForDocuments.from_encoder_pretrained(
        source,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        max_tokens_per_segment=128,
        features={"words": words},
        logit_weights=dict.fromkeys(members, 1.0) | {"deep": 1.0},
        **settings,
    )
    tokenizer = AutoTokenizer.from_pretrained(source)
    return HierBert(model, HierBertProcessor.from_config(tokenizer, model.config))


def tree_of(taxonomy: Taxonomy) -> dict[str, Any]:
    """A tree as a model's config has it."""
    parents = [taxonomy.parents[node].tolist() for node in range(len(taxonomy))]
    return TreeSettings(parents).as_config()


def main() -> None:
    """Time both, and print the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS / "label_tree_cost.json")
    options = parser.parse_args()
    taxonomy = read_taxonomy(options.data / "hwv" / "taxonomy.jsonl.gz")
    leaves = [taxonomy.nodes[node] for node in taxonomy.leaves]
    with gzip.open(options.data / "hwv" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, options.documents)]
    models = {
        "tree": model_of(list(taxonomy.nodes), label_tree=tree_of(taxonomy)),
        "flat": model_of(leaves),
    }
    tasks = {name: partial(model.classify, texts) for name, model in models.items()}
    for task in tasks.values():
        task()
    shape = Shape.of(DEFAULT_ENCODER)
    probe = GemmProbe(shape.hidden_size, shape.intermediate_size)
    rounds = run_rounds(tasks, options.rounds, probe, "label trees:")
    found = ratios(rounds.seconds("tree"), rounds.seconds("flat"))
    counts = f"{len(taxonomy):,} nodes, {len(leaves):,} leaves, {len(texts)} documents"
    print(f"time of an answer, tree / flat: {Spread.of(found).show()} ({counts})")
    kept = {"ratio": found, "rounds": rounds.record(), "torch_threads": torch.get_num_threads()}
    options.output.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
