"""Train on rows in memory, ask the model, and save it.

    python examples/train_in_memory.py [ENCODER]

Rows may as well be a pandas DataFrame, a datasets.Dataset, a generator of dicts, or a path.
"""

import sys

from hierbert import HierBertTrainer

ENCODER = sys.argv[1] if len(sys.argv) > 1 else "sentence-transformers/all-MiniLM-L6-v2"

FILM = "The plot is thin. The actors are good and the film is great fun to the end. "
LAW = "The court heard both parties. The judge ruled that the contract is void. "
train = [
    {"text": text * (number + 1), "kind": kind}
    for number in range(8)
    for text, kind in ((FILM, "review"), (LAW, "judgment"))
]

trainer = HierBertTrainer(
    ENCODER,
    train=train,
    validation=train[:4],
    config={
        "data.label_column": "kind",
        "training.freeze_encoder": True,
        "training.epochs": 3,
        "run_dir": "runs/in-memory",
    },
)
results = trainer.train()
print("accuracy:", results["scores"]["accuracy"])

answer = trainer.model.classify(["The judge ruled. The parties signed a contract."])[0]
print(answer.label, answer.probabilities)

# Weights, tokenizer and code: this folder loads without hierbert too.
trainer.model.save_pretrained("kinds-model")
