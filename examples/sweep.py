"""Try settings one after the other, and keep the best by its validation score.

    python examples/sweep.py train.jsonl [ENCODER]

The encoder is frozen, so that it reads each document once for all of them; a run that is there
already is not done again. In a shell the same is a loop around
``hierbert train --config FILE training.head_learning_rate=... run_dir=...``.
"""

import itertools
import json
import sys
from pathlib import Path

from hierbert import HierBertTrainer

DOCUMENTS = sys.argv[1]
ENCODER = sys.argv[2] if len(sys.argv) > 2 else "sentence-transformers/all-MiniLM-L6-v2"
METRIC = "macro_f1"

scores = {}
for rate, layers in itertools.product((1e-4, 3e-4), (1, 2)):
    folder = Path("runs", f"sweep-rate{rate:g}-layers{layers}")
    if not (folder / "results.json").exists():
        HierBertTrainer(
            ENCODER,
            train=DOCUMENTS,
            config={
                "data.label_column": "label",
                "model.aggregator_layers": layers,
                "training.freeze_encoder": True,
                "training.head_learning_rate": rate,
                "training.metric": METRIC,
                "baselines": False,
                "show_sample": False,
                "run_dir": str(folder),
            },
        ).train()
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    scores[folder] = results["validation"][METRIC]

for folder, score in sorted(scores.items(), key=lambda pair: -pair[1]):
    print(f"{score:.3f}  {folder}")
print(f"best: {max(scores, key=scores.__getitem__)}")
