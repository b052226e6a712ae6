"""What a trained model loses when its encoder computes in another precision.

    python benchmarks/precision.py --model runs/quickstart/model --input package://aclsum/test \
        --label-column era --summary-column summary --dtypes int8 openvino/int8

For each precision beside float32, of torch or of a backend before a slash: the cosine of every
segment vector with that in float32, how many documents keep their label, and the difference in
accuracy and ROUGE-1 in points, with the 95 % interval of the paired difference over documents. It
says nothing of speed: see speed.py.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch.nn import functional as F

from hierbert import HierBertPredictor
from hierbert.data.corpus import Columns, load_examples
from hierbert.data.document import Example
from hierbert.data.sources import resolve_sources
from hierbert.log import Progress
from hierbert.prediction.predictions import Prediction
from hierbert.scoring import METRICS
from hierbert.scoring.intervals import paired_difference


def predict(model: Path, name: str, examples: list[Example]) -> list[Prediction]:
    """All answers of a model in one precision, vectors included."""
    backend, _, dtype = name.rpartition("/")
    predictor = HierBertPredictor.from_pretrained(model, dtype=dtype, backend=backend or "torch")
    texts = (example.text for example in examples)
    answers = []
    with Progress(len(examples), name) as bar:
        for answer in predictor.predict(texts, predictor.tasks, segment_vectors=True):
            answers.append(answer)
            bar.advance()
    return answers


def cosines(one: list[Prediction], other: list[Prediction]) -> torch.Tensor:
    """The cosine of each segment's vectors, float32 (P,)."""
    pairs = zip(one, other, strict=True)
    return torch.cat(
        [
            F.cosine_similarity(torch.tensor(a.segment_vectors), torch.tensor(b.segment_vectors))
            for a, b in pairs
        ]
    )


def points(first: list[float], second: list[float]) -> dict[str, float]:
    """The mean of both in points, and their difference with its interval."""
    difference, low, high, _ = paired_difference(second, first, seed=0)
    return {
        "float32": 100 * sum(first) / len(first),
        "other": 100 * sum(second) / len(second),
        "difference": 100 * difference,
        "low": 100 * low,
        "high": 100 * high,
    }


def compare(
    exact: list[Prediction], other: list[Prediction], examples: list[Example]
) -> dict[str, Any]:
    """What the other precision changes."""
    alike = cosines(exact, other)
    found: dict[str, Any] = {
        "documents": len(examples),
        "segments": len(alike),
        "cosine": {"least": float(alike.min()), "mean": float(alike.mean())},
    }
    labelled = [i for i, example in enumerate(examples) if example.fields.get("label") is not None]
    if labelled and exact[0].label is not None:
        right = [
            [float(str(answers[i].label) == str(examples[i].fields["label"])) for i in labelled]
            for answers in (exact, other)
        ]
        same = [a.label == b.label for a, b in zip(exact, other, strict=True)]
        found["same_label"] = sum(same) / len(same)
        found["accuracy"] = points(*right)
    summarized = [i for i, example in enumerate(examples) if example.fields.get("summary")]
    if summarized and exact[0].summary is not None:
        references = [str(examples[i].fields["summary"]) for i in summarized]
        rouge = [
            METRICS["rouge1"].score([answers[i].summary or "" for i in summarized], references)
            for answers in (exact, other)
        ]
        found["rouge1"] = points(*rouge)
    return found


def main() -> None:
    """Compare the precisions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", nargs="+", required=True)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column")
    parser.add_argument("--summary-column")
    parser.add_argument("--dtypes", nargs="+", default=["int8"])
    parser.add_argument("--documents", type=int, help="the first so many; default: all")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    given = {"label": options.label_column, "summary": options.summary_column}
    fields = {name: column for name, column in given.items() if column is not None}
    columns = Columns(options.text_column, fields=fields)
    examples = load_examples(resolve_sources(options.input, "input"), columns)[: options.documents]
    exact = predict(options.model, "float32", examples)
    report = {}
    for dtype in options.dtypes:
        report[dtype] = compare(exact, predict(options.model, dtype, examples), examples)
        show(dtype, report[dtype])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def show(dtype: str, found: dict[str, Any]) -> None:
    """Print one precision's lines."""
    cosine = found["cosine"]
    print(
        f"{dtype}: {found['segments']:,} segments of {found['documents']:,} documents, cosine with "
        f"float32 {cosine['mean']:.5f} (mean), {cosine['least']:.5f} (least)"
    )
    if "same_label" in found:
        print(f"  same label: {100 * found['same_label']:.1f} % of the documents")
    for name in ("accuracy", "rouge1"):
        if name in found:
            row = found[name]
            print(
                f"  {name}: {row['other']:.2f} against {row['float32']:.2f} in float32: "
                f"{row['difference']:+.2f} points [{row['low']:+.2f}, {row['high']:+.2f}]"
            )


if __name__ == "__main__":
    main()
