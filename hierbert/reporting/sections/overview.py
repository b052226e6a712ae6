"""What was scored, and what the data do not allow to say."""

from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found
from hierbert.scoring.metric import METRICS

# Below, a document more or less moves an accuracy by 3 points.
_FEW = 30
_FACTS = {
    "split": "Documents scored are those of",
    "documents": "Documents scored",
    "left_out": "Documents left out, whose labels the model does not know",
    "epochs": "Epochs",
    "steps": "Steps",
    "best_step": "Best step, whose weights the model has",
    "nonfinite_steps": "Steps left out, not finite",
    "seed": "Seed",
    "seconds": "Seconds in all",
}


def overview(found: Found) -> Section:
    """In front of all."""
    results = found.results
    rows = [
        [title, _shown(results[name])]
        for name, title in _FACTS.items()
        if results.get(name) or (name == "seed" and name in results)
    ]
    if (model := results.get("model")) and model.get("source"):
        rows.insert(0, ["Model", str(model["source"])])
    notes: list[Block] = [Note(text) for text in _warnings(found)]
    return Section("At a glance", [*notes, Table(["What", "value"], rows)])


def _warnings(found: Found) -> list[str]:
    results, said = found.results, []
    if results.get("split") == "validation":
        said.append(
            "There are no test documents: the scores are those of the validation documents, which "
            "also chose the weights. A test split says more (data.test)."
        )
    if not any(name in METRICS for name in results["scores"]):
        said.append(
            "No scored document has a label or a reference: nothing can be said of the answers."
        )
    leaks = ((results.get("summaries") or {}).get("leaks") or {}).get("documents")
    if leaks:
        said.append(
            f"{leaks:,} of the texts hold much of their own reference, which makes extraction look "
            "easy: results.json has every score with and without them (summaries.leaks)."
        )
    count = results.get("documents") or 0
    if count < _FEW:
        said.append(
            f"Only {count:,} document{'s were' if count != 1 else ' was'} scored: a figure of so "
            "few is little more than chance, whatever its interval says."
        )
    rows = (results.get("per_label") or {}).get("labels") or []
    occurring = [row for row in rows if row["support"]]
    if len(rows) > 1 and len(occurring) == 1:
        said.append(
            "One label alone occurs among the scored documents: what tells labels apart, such as "
            "macro-F1 or the confusion matrix, cannot be judged by them."
        )
    if len(rows) == 1:
        said.append("The model knows one label: every answer is that one.")
    return said


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
