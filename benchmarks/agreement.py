"""Whether what a sentence's score is made of agrees with what people marked, on ACLSum and QMSum.

    python benchmarks/agreement.py --data FOLDER --corpora aclsum qmsum --model MODEL

Of each paper of ACLSum the sentences that people marked for any of its three aspects, in abstract,
introduction and conclusion; of each question about a meeting of QMSum the parts that people wrote
its answer from. All sentences are ranked by each part of their evidence (docs/evidence.md), by the
score itself, at random (the mean of 100 orders), from the first on, and by how often people marked
what stands in that twentieth of a training document. The figure is average precision, in the mean
over documents, with 95 % intervals of a bootstrap over them. Papers are asked of a trained model,
without a question; meetings of one without training, whose score has two parts: how central a
sentence is, and what the question adds.
"""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.report import corpus_options, corpus_parser, keep_figures, table
from benchmarks.queries import READERS, Asked, ask, average_precision, places, position_prior, read
from hierbert import HierBert
from hierbert.model.answering import answer_batch
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.sentence_evidence import sentence_evidence
from hierbert.scoring.intervals import mean_interval

_ORDERS, _SEED = 100, 0
Ranking = dict[str, np.ndarray]


def of_paper(
    model: HierBert, document: SegmentedDocument, asked: list[Asked]
) -> Iterator[tuple[Ranking, np.ndarray]]:
    """What each sentence's score is made of, and which people marked for any aspect."""
    with torch.inference_mode():
        [answered] = answer_batch(model.model, [document], ["summarization"])
    every = range(len(document.sentence_spans))
    rows = sentence_evidence(
        model.model, model.model.heads["summarization"], answered, every, every
    )
    kinds = [kind for kind in rows[0] if kind not in ("logit", "average")]
    found = {"the score": np.array([row["logit"] for row in rows])}
    found |= {kind: np.array([row[kind] for row in rows]) for kind in kinds}
    yield found, np.logical_or.reduce([one.marked for one in asked])


def of_meeting(
    model: HierBert, document: SegmentedDocument, asked: list[Asked]
) -> Iterator[tuple[Ranking, np.ndarray]]:
    """The score for each question, what it is without one, and what the question adds."""
    with torch.inference_mode():
        [without] = answer_batch(model.model, [document])
    central = without.scores["summarization"].double().numpy()
    queries = model.processor.segment([one.query for one in asked])
    for one, scores in zip(asked, ask(model, document, queries), strict=True):
        parts = {"centrality": central, "query": scores - central}
        yield {"the score": scores, **parts}, one.marked


def figures(name: str, model: HierBert, data: Path, most: int) -> dict:
    """Of each ranking the average precision of each test document."""

    def segment(text: str | list[str]) -> SegmentedDocument:
        return model.processor.segment([text])[0]

    prior = position_prior(name, data, segment)
    tell = of_paper if name == "aclsum" else of_meeting
    chance = np.random.default_rng(_SEED)
    found: dict[str, list[float]] = {}
    marks = []
    for document, asked in islice(read(name, "test", data, segment), most):
        count, own = len(document.sentence_spans), {}
        for rankings, marked in tell(model, document, asked) if asked else ():
            if not marked.any():
                continue
            marks.append(float(marked.mean()))
            rankings["people's usual places"] = prior[places(count)]
            rankings["from the first on"] = -np.arange(float(count))
            for who, scores in rankings.items():
                own.setdefault(who, []).append(average_precision(scores, marked))
            orders = [average_precision(chance.random(count), marked) for _ in range(_ORDERS)]
            own.setdefault("at random", []).append(float(np.mean(orders)))
        for who, values in own.items():
            found.setdefault(who, []).append(float(np.mean(values)))
        print(f"\r{name} {len(found['at random'])}", end="", file=sys.stderr, flush=True)
    return {"questions": len(marks), "marked": float(np.mean(marks)), "precision": found}


def shown(name: str, kept: dict) -> str:
    """In Markdown."""
    rows = []
    for who, values in kept["precision"].items():
        mean, low, high = (100 * value for value in mean_interval(values, _SEED))
        rows.append([who, f"{mean:.1f} [{low:.1f}, {high:.1f}]"])
    documents = len(kept["precision"]["at random"])
    head = f"{name}: {documents} documents, {kept['questions']} rankings, "
    head += f"{100 * kept['marked']:.1f} % of sentences marked"
    return "\n".join(table([head, "average precision"], rows))


def main() -> None:
    """Score what is asked for, keep it, and print all tables there are."""
    parser = corpus_parser(__doc__, READERS, "agreement")
    parser.add_argument("--model", help="a trained summarizer, for aclsum")
    options = corpus_options(parser)
    if "aclsum" in options.corpora and options.model is None:
        parser.error("aclsum needs --model")
    asked = {}
    for name in options.corpora:
        trained = name == "aclsum"
        model = HierBert.from_pretrained(options.model) if trained else HierBert.summarizer()
        asked[name] = partial(figures, name, model, options.data, options.documents)
    kept = keep_figures(options.output, asked)
    print("\n\n".join(shown(name, found) for name, found in kept.items()))


if __name__ == "__main__":
    main()
