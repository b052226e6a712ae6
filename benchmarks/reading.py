"""Cells of scaling.py and memory.py that read: one long document, or many sentences.

    python -m benchmarks.reading --cell REQUEST --cell-output FILE

The request is JSON with a "kind": prepare, ours, all, longformer, modernbert, bert, aggregator,
sentence attention, selection, selection with redundancy, oracle. Everything is measured in this
process alone.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common.cells import answer_request
from benchmarks.common.machine import GemmProbe, peak_rss_bytes, rss_bytes, timed
from benchmarks.common.text import make_sentences, make_text, single_token_words

_MOST_REPEATS = 9
_WARM_UP_TOKENS = 8_192
_SENTENCES_PER_SEGMENT = 20
_WORDS_PER_SENTENCE = 16
_SUMMARY_WORDS = 200


def prepare(request: dict[str, Any]) -> dict[str, Any]:
    """Save our model where the other cells load it from."""
    from benchmarks.common.models import save_model

    save_model(request["encoder"], Path(request["folder"]), request["seed"], summarization=True)
    return {"folder": request["folder"]}


def read_document(request: dict[str, Any]) -> dict[str, Any]:
    """Classify one document of so many tokens, as often as the time allows, at least once.

    With the kind "all", do all that the model can, with a summary of 200 words.
    """
    from benchmarks.common.models import Shape, load_tokenizer

    shape = Shape.of(request["encoder"])
    tokenizer = load_tokenizer(request["encoder"])
    words = single_token_words(tokenizer)
    tokens, seed = request["tokens"], request["seed"]
    text = make_text(words, tokens - 2, seed)
    shorter = make_text(words, min(tokens, _WARM_UP_TOKENS) - 2, seed)
    is_ours = request["kind"] in ("ours", "all")
    if is_ours:
        from hierbert import HierBertPredictor

        predictor = HierBertPredictor.from_pretrained(request["folder"], device="cpu")
        asked = predictor.tasks if request["kind"] == "all" else ("classify",)
        rule = {"max_words": _SUMMARY_WORDS} if "summarize" in asked else None

        def read(texts: list[str]) -> object:
            return list(predictor.predict(texts, asked, rule))
    else:
        from benchmarks.systems.long_transformer import LongTransformer

        read = LongTransformer(request["kind"], tokenizer, shape, tokens, seed).classify
    probe = GemmProbe(shape.hidden_size, shape.intermediate_size)
    before = rss_bytes()
    if tokens <= _WARM_UP_TOKENS or is_ours:
        read([shorter])
    result = _repeat(lambda: read([text]), probe, request["budget_seconds"])
    return {**result, "tokens": tokens, "rss_before_bytes": before}


def read_sentences(request: dict[str, Any]) -> dict[str, Any]:
    """What grows with the sentences (or segments) of a document, by a direct call."""
    from benchmarks.common.models import Shape

    shape = Shape.of(request["encoder"])
    probe = GemmProbe(shape.hidden_size, shape.intermediate_size)
    task = _SENTENCE_TASKS[request["kind"]](request)
    task()
    return {**_repeat(task, probe, request["budget_seconds"]), "units": request["units"]}


def _repeat(task: Callable[[], object], probe: GemmProbe, budget_seconds: float) -> dict[str, Any]:
    """Times of a task until the budget is used, with a probe before each and after the last."""
    seconds: list[float] = []
    probes = [probe()]
    while len(seconds) < _MOST_REPEATS and (not seconds or sum(seconds) < budget_seconds):
        seconds.append(timed(task))
        probes.append(probe())
    return {"seconds": seconds, "probes": probes, "peak_rss_bytes": peak_rss_bytes()}


def _attention(request: dict[str, Any]) -> Callable[[], object]:
    """The summarization head over the sentences of one document."""
    import torch

    from benchmarks.common.models import build_model
    from hierbert.model.heads import Structure, Vectors

    model, _ = build_model(request["encoder"], request["seed"], summarization=True)
    head = model.summarizer
    assert head is not None
    sentences, hidden = request["units"], model.config.hidden_size
    segments = -(-sentences // _SENTENCES_PER_SEGMENT)
    generator = torch.Generator().manual_seed(request["seed"])
    states = torch.randn(segments, hidden, generator=generator)
    vectors = Vectors(
        document=torch.randn(1, hidden, generator=generator),
        segment=states,
        segment_states=states,
        sentence=torch.randn(sentences, hidden, generator=generator),
        structure=Structure(
            segments_per_document=torch.tensor([segments]),
            sentences_per_document=torch.tensor([sentences]),
            sentence_segments=torch.arange(sentences) // _SENTENCES_PER_SEGMENT,
            sentence_tokens=torch.full((sentences,), _WORDS_PER_SENTENCE),
        ),
    )

    def task() -> None:
        with torch.inference_mode():
            head(vectors)

    return task


def _aggregator(request: dict[str, Any]) -> Callable[[], object]:
    """The aggregator over the segments of one document."""
    import torch

    from benchmarks.common.models import build_model

    model, _ = build_model(request["encoder"], request["seed"])
    generator = torch.Generator().manual_seed(request["seed"])
    vectors = torch.randn(request["units"], model.config.hidden_size, generator=generator)
    lengths = torch.tensor([request["units"]])

    def task() -> None:
        with torch.inference_mode():
            model.hierbert.aggregator(vectors, lengths)

    return task


def _selection(request: dict[str, Any]) -> Callable[[], object]:
    """A summary from scored sentences, by score or by marginal relevance."""
    import torch

    from benchmarks.common.models import build_model
    from hierbert.model.selection import Budget
    from hierbert.model.summarization_head import SummaryRule

    _, processor = build_model(request["encoder"], request["seed"])
    text = " ".join(_sentences(request))
    document = processor.segment([text])[0]
    count = len(document.sentence_spans)
    generator = torch.Generator().manual_seed(request["seed"])
    scores = torch.randn(count, generator=generator).tolist()
    redundancy = 0.3 if "redundancy" in request["kind"] else 0.0
    rule = SummaryRule(Budget(max_words=_SUMMARY_WORDS), redundancy=redundancy)
    return lambda: rule.select(document, scores)


def _oracle(request: dict[str, Any]) -> Callable[[], object]:
    """The greedy search for the sentences nearest to a reference of 200 words."""
    from hierbert.tasks.oracle import oracle_sentences

    sentences = _sentences(request)
    chance = random.Random(request["seed"] + 1)
    # Parts of sentences of the document, as people's summaries hold them.
    parts = [
        " ".join(chance.choice(sentences).rstrip(".").split()[:8])
        for _ in range(_SUMMARY_WORDS // 8)
    ]
    reference = "\n".join(f"{part}." for part in parts)
    return lambda: oracle_sentences(sentences, reference)


def _sentences(request: dict[str, Any]) -> list[str]:
    from benchmarks.common.models import load_tokenizer

    words = single_token_words(load_tokenizer(request["encoder"]))
    # Some more than needed: their lengths vary.
    tokens = request["units"] * (_WORDS_PER_SENTENCE + 3) + 100
    return make_sentences(words, tokens, request["seed"])[: request["units"]]


_SENTENCE_TASKS: dict[str, Callable[[dict[str, Any]], Callable[[], object]]] = {
    "sentence attention": _attention,
    "aggregator": _aggregator,
    "selection": _selection,
    "selection with redundancy": _selection,
    "oracle": _oracle,
}


def measure(request: dict[str, Any], output: str) -> dict[str, Any]:
    """What is asked for."""
    if request["kind"] == "prepare":
        return prepare(request)
    return (read_sentences if request["kind"] in _SENTENCE_TASKS else read_document)(request)


if __name__ == "__main__":
    answer_request(__doc__, measure)
