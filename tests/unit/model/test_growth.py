"""What a longer document takes more of: bytes a sentence and bytes a token, counted, not timed."""

import tracemalloc

import pytest
import torch
from conftest import make_tokenizer
from torch.profiler import ProfilerActivity, profile

from hierbert import HierBertConfig
from hierbert.model import aggregation, centrality, segmentation
from hierbert.model.heads import Answered, Structure, Vectors
from hierbert.model.segmentation import Segmenter
from hierbert.model.selection import Budget
from hierbert.model.summarization_head import SummarizationHead, SummaryRule

HIDDEN = 64


def peak_of_tensors(call) -> int:
    """The greatest sum of bytes that tensors made by a call took at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        call()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def peak_of_objects(call) -> int:
    """The same of Python's objects."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def build_head(layers: int) -> SummarizationHead:
    text = {"model_type": "bert", "hidden_size": HIDDEN, "num_attention_heads": 2}
    config = HierBertConfig(
        text_config=text, summarization=True, sentence_layers=layers, sentence_reach=32
    )
    return SummarizationHead(config).eval()


def text_of(count: int) -> str:
    """So many sentences, each another."""
    return " ".join(
        f"The court said that number {number} was a long contract and the river went on."
        for number in range(count)
    )


def sentences_of(count: int) -> Vectors:
    states = torch.zeros(count // 20, HIDDEN)
    return Vectors(
        document=torch.zeros(1, HIDDEN),
        segment=states,
        segment_states=states,
        sentence=torch.zeros(count, HIDDEN),
        structure=Structure(
            segments_per_document=torch.tensor([len(states)]),
            sentences_per_document=torch.tensor([count]),
            sentence_segments=torch.arange(count) // 20,
            sentence_tokens=torch.full((count,), 16),
        ),
    )


@pytest.mark.parametrize("layers", [1, 3])
def test_the_head_takes_the_states_of_sentences_once(monkeypatch, layers) -> None:
    monkeypatch.setattr(aggregation, "_ROWS_AT_ONCE", 128)
    head = build_head(layers)
    few, many = (sentences_of(count) for count in (500, 1_000))
    with torch.inference_mode():
        growth = peak_of_tensors(lambda: head(many)) - peak_of_tensors(lambda: head(few))
    # Beside them a score and the places of a sentence, some int64.
    assert HIDDEN * 4 <= growth / 500 < HIDDEN * 4 + 100


def test_a_token_is_six_numbers_and_a_sentence_some_hundred_bytes(monkeypatch) -> None:
    monkeypatch.setattr(segmentation, "_CHARACTERS_PER_PART", 2_000)
    monkeypatch.setattr(segmentation, "_CHARACTERS_PER_CALL", 4_000)
    segmenter = Segmenter(make_tokenizer("bert"))
    few, many = ([text_of(count)] for count in (500, 1_000))
    growth = peak_of_objects(lambda: segmenter(many)) - peak_of_objects(lambda: segmenter(few))
    tokens = segmenter(many)[0].tokens - segmenter(few)[0].tokens
    assert tokens > 500 * 20
    assert growth < 30 * tokens + 800 * 500


def test_selecting_takes_some_hundred_bytes_a_sentence() -> None:
    segmenter, head = Segmenter(make_tokenizer("bert")), build_head(layers=0)
    rule = SummaryRule(Budget(max_words=50))

    def peak(count: int) -> int:
        (document,) = segmenter([text_of(count)])
        scores = {head.name: torch.arange(count).float()}
        answered = Answered(document, torch.zeros(1), torch.zeros(1, 1), scores=scores)
        return peak_of_objects(lambda: head.answer(answered, None, rule))

    assert peak(1_000) - peak(500) < 800 * 500


@pytest.mark.parametrize("count", [50, 1_000, 20_000])
def test_no_more_pairs_of_sentences_are_compared_than_may_be(monkeypatch, count) -> None:
    most = 1 << 16
    monkeypatch.setattr(centrality, "MOST_PAIRS", most)
    asked = []

    class Alike:
        def __init__(self) -> None:
            self.count = count

        def cosines(self, first: int, last: int, begin: int, end: int) -> torch.Tensor:
            asked.append((last - first) * (end - begin))
            return torch.ones(last - first, end - begin)

    scores = centrality.lexrank(Alike())
    assert len(scores) == count and float(scores.sum()) == pytest.approx(1)
    # Of a few sentences all pairs, of many so many, and those that come with them.
    assert sum(asked) == count**2 if count == 50 else most / 2 < sum(asked) <= 3 * most
    assert max(asked) <= 3 * most
