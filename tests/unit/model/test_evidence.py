"""Evidence of labels: what a label's logit loses without each segment, sentence and word."""

import math
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_text
from small_models import build
from torch import Tensor

from hierbert import HierBert
from hierbert.model import evidence
from hierbert.model.aggregation import position_features
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.words import hashed_words

BUCKETS = 1 << 10
WEIGHTS = {"deep": 0.7, "words": 1.5, "segment_words": 0.8, "vectors": 0.4}
ALL = 1000
Span = tuple[int, int]


def make_model(encoder: Path, **settings: Any) -> HierBert:
    """A model whose every member counts."""
    if settings.pop("words", True):
        own = {"labels": settings.get("num_labels", 3), "buckets": BUCKETS}
        features = {"words": {**own, "pairs": True}, "segment_words": {**own, "pairs": False}}
        settings = {"features": features, "logit_weights": WEIGHTS} | settings
    settings = {"summarization": False, "max_tokens_per_segment": 24, **settings}
    model, processor = build(encoder, **settings)
    generator = torch.Generator().manual_seed(1)
    buffers = dict(model.classifier.named_buffers()) | dict(model.features.named_buffers())
    for name, buffer in buffers.items():
        drawn = torch.randn(buffer.shape, generator=generator) * 0.5
        buffer.copy_(drawn.abs() + 0.1 if name.endswith(("idf", "scale")) else drawn)
    model.config.temperature = 1.3
    return HierBert(model, processor)


TEXT = make_text(random.Random(3), 14) + " Straße 77, 价格 ok. The court? The court!"


class Reference:
    """Logits of a model about a document without something, each member by its definition."""

    def __init__(self, model: HierBert, text: str) -> None:
        self.model = model.model
        [self.document] = model.processor.segment([text])
        self.states: list[Tensor] = []
        self.sentences = self.document.sentence_index.split(self.document.segment_lengths.tolist())
        encoder = self.model.hierbert.segment_encoder.encoder
        ids = self.document.input_ids.long().split(self.document.segment_lengths.tolist())
        with torch.no_grad():
            self.states = [encoder(input_ids=own[None])[0][0] for own in ids]

    def logits(self, vectors: dict[int, Tensor], cut: Span) -> Tensor:
        """Of the segments that are there, by their numbers, without the words of a span."""
        document, head = self.document, self.model.classifier
        count = len(document.segment_spans)
        weights = head.logit_weights or {"deep": 1.0}
        with torch.no_grad():
            total = weights["deep"] * self.deep(vectors, count)
            if head.logit_weights:
                rest = torch.stack(list(vectors.values()))
                pooled = torch.cat([rest.mean(0), rest.amax(0)])
                linear = head.linear
                own = (pooled - linear.center) / linear.scale @ linear.weights + linear.bias
                total = total + head.bias + weights["vectors"] * own
                whole = self.words("words", (0, len(document.text)), cut)
                each = [
                    self.words("segment_words", document.segment_spans[n], cut) for n in vectors
                ]
                soft = torch.stack(each).exp().mean(0).log()
                total = total + weights["words"] * whole + weights["segment_words"] * soft
        return total / self.model.config.temperature

    def deep(self, vectors: dict[int, Tensor], count: int) -> Tensor:
        """With the others masked, as padding is, not taken out."""
        aggregator, head = self.model.hierbert.aggregator, self.model.classifier
        rows = torch.zeros(count, aggregator.token.shape[0])
        mask = torch.zeros(count + 1, dtype=torch.bool)
        mask[0] = True
        for number, vector in vectors.items():
            rows[number], mask[number + 1] = vector, True
        places = position_features(torch.arange(count), torch.full((count,), count))
        states = torch.cat([aggregator.token[None], rows + aggregator.positions(places)])[None]
        for layer in aggregator.layers:
            states = layer(states, mask[None, None, None])
        token = aggregator.norm(states)[0, 0]
        document = torch.stack(list(vectors.values())).mean(0)
        document = document + self.model.hierbert.from_document_token(token)
        return head.output(head.norm(document))

    def counts(self, name: str, text: Span, cut: Span) -> list[Counter]:
        """Words, and pairs, of what stands before a cut and of what stands after it."""
        (start, end), kinds = text, 2 if name == "words" else 1
        parts = [(start, min(end, cut[0])), (max(start, cut[1]), end)]
        empty = not self.document.text[slice(*cut)].strip()
        if empty or cut[1] <= start or end <= cut[0]:
            parts = [text]
        read = [self.document.text[a:b] for a, b in parts if a < b]
        found = [hashed_words(one, BUCKETS) for one in read]
        return [Counter(n for one in found for n in one[kind].tolist()) for kind in range(kinds)]

    def words(self, name: str, text: Span, cut: Span) -> Tensor:
        feature = self.model.features[name]
        total = feature.bias.clone()
        for counts in self.counts(name, text, cut):
            for bucket, value in weighed(counts, feature.idf).items():
                total += value * feature.weights[bucket]
        return total

    @torch.no_grad()
    def encoded(self, sentence: int, pool: Callable[[Tensor], Tensor]) -> dict[int, Tensor]:
        """Vectors of segments that the encoder read without the tokens of a sentence."""
        encoder = self.model.hierbert.segment_encoder.encoder
        ids = self.document.input_ids.long().split(self.document.segment_lengths.tolist())
        found = {}
        for number, (own, owners) in enumerate(zip(ids, self.sentences, strict=True)):
            if bool(((owners >= 0) & (owners != sentence)).any()):
                found[number] = pool(encoder(input_ids=own[owners != sentence][None])[0][0])
        return found

    def vectors(self, sentence: int | None = None) -> dict[int, Tensor]:
        """Means of the states of the tokens, but for those of a sentence."""
        found = {}
        for number, (states, owners) in enumerate(zip(self.states, self.sentences, strict=True)):
            if sentence is None or bool(((owners >= 0) & (owners != sentence)).any()):
                found[number] = states[owners != (-9 if sentence is None else sentence)].mean(0)
        return found


def weighed(counts: Counter, idf: Tensor) -> dict[int, float]:
    values = {n: (1 + math.log(count)) * float(idf[n]) for n, count in counts.items()}
    norm = math.sqrt(sum(value**2 for value in values.values())) or 1.0
    return {n: value / norm for n, value in values.items()}


def log_odds(logits: Tensor, label: int) -> float:
    share = logits.double().softmax(0)[label]
    return float(share.log() - (1 - share).log())


def own_part(document: SegmentedDocument, number: int) -> Span:
    """Of a segment, what no other holds."""
    start, end = document.segment_spans[number]
    others = [span for n, span in enumerate(document.segment_spans) if n != number]
    own = [p for p in range(start, end) if not any(a <= p < b for a, b in others)]
    return (own[0], own[-1] + 1) if own else (start, start)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"words": False},
        {"num_labels": 2},
        {"overlap_sentences": 1},
        {"problem_type": "multi_label_classification"},
        {
            **{"problem_type": "regression", "num_labels": 1, "words": False},
            **{"label_scale": 7.0, "label_mean": 50.0},
        },
    ],
    ids=["words", "no_words", "two_labels", "overlap", "several_labels", "number"],
)
def test_contributions_are_what_the_answer_loses(encoders, settings) -> None:
    model = make_model(encoders["bert"], **settings)
    reference = Reference(model, TEXT)
    document = reference.document
    asked = list(model.model.config.label2id)[::-1]
    [answer] = model.classify(TEXT, evidence=asked, evidence_count=ALL)

    def explained(logits: Tensor, label: int) -> float:
        if settings.get("problem_type") == "regression":
            return 7.0 * float(logits[0])
        if "problem_type" in settings:
            return float(logits[label])
        return log_odds(logits, label)

    vectors = reference.vectors()
    whole = reference.logits(vectors, (0, 0))
    assert len(answer.evidence) == model.model.config.num_labels
    for own in answer.evidence:
        label = model.model.config.label2id[own["label"]]
        if "logit" in own:
            assert own["logit"] == pytest.approx(explained(whole, label), abs=2e-4)
        found = {(one["start"], one["end"]): one["contribution"] for one in own["segments"]}
        assert set(found) == set(document.segment_spans) and len(found) > 4
        for number, span in enumerate(document.segment_spans):
            rest = {n: vector for n, vector in vectors.items() if n != number}
            without = reference.logits(rest, own_part(document, number))
            expected = explained(whole, label) - explained(without, label)
            assert found[span] == pytest.approx(expected, abs=5e-4)
        sizes = [abs(one["contribution"]) for one in own["segments"]]
        assert sizes == sorted(sizes, reverse=True) and min(found.values()) < 0 < max(
            found.values()
        )
        if "overlap_sentences" in settings:
            continue  # of a sentence that stands in two segments the mean of both is known
        found = {(one["start"], one["end"]): one["contribution"] for one in own["sentences"]}
        assert set(found) == set(document.sentence_spans)
        for number, span in enumerate(document.sentence_spans):
            without = reference.logits(reference.vectors(number), span)
            expected = explained(whole, label) - explained(without, label)
            assert found[span] == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", lambda states: states.mean(0)),
        ("cls", lambda states: states[0]),
        ("max", lambda states: states.amax(0)),
    ],
    ids=["mean", "cls", "max"],
)
def test_exact_sentences_are_what_is_said_of_the_text_without_them(encoders, pooling, pool) -> None:
    model = make_model(encoders["bert"], pooling=pooling)
    reference = Reference(model, TEXT)
    document = reference.document
    asked = {"evidence": ["LABEL_1"], "evidence_count": ALL, "evidence_exact": True}
    [answer] = model.classify(TEXT, **asked)
    [own] = [one for one in answer.evidence if one["label"] == "LABEL_1"]
    whole = log_odds(reference.logits(reference.encoded(-9, pool), (0, 0)), 1)
    assert own["logit"] == pytest.approx(whole, abs=5e-4)
    found = {(one["start"], one["end"]): one["contribution"] for one in own["sentences"]}
    assert set(found) == set(document.sentence_spans)
    for number, span in enumerate(document.sentence_spans):
        without = reference.logits(reference.encoded(number, pool), span)
        assert found[span] == pytest.approx(whole - log_odds(without, 1), abs=1e-3)
    [quick] = model.classify(TEXT, **{**asked, "evidence_exact": False})
    [other] = [one for one in quick.evidence if one["label"] == "LABEL_1"]
    assert other["words"] == own["words"]
    assert [one["start"] for one in other["segments"]] == [one["start"] for one in own["segments"]]
    assert other["sentences"] == [] if pooling != "mean" else other["sentences"] != own["sentences"]


def test_words_add_up_to_what_the_words_say(encoders) -> None:
    model = make_model(encoders["bert"], problem_type="multi_label_classification")
    reference, name = Reference(model, TEXT), "LABEL_1"
    document = reference.document
    [answer] = model.classify(TEXT, evidence=[name], evidence_count=ALL)
    [own] = [one for one in answer.evidence if one["label"] == name]
    found = {(one["count"], tuple(map(tuple, one["spans"]))): one for one in own["words"]}
    assert len(found) == len(own["words"])
    of_words, of_segments = (model.model.features[kind] for kind in ("words", "segment_words"))
    spans = document.segment_spans
    each = torch.stack([reference.words("segment_words", span, (0, 0))[1] for span in spans])
    shares = each.softmax(0)
    total = WEIGHTS["words"] * (reference.words("words", (0, len(TEXT)), (0, 0)) - of_words.bias)[1]
    total += WEIGHTS["segment_words"] * (shares * (each - of_segments.bias[1])).sum()
    summed = sum(one["contribution"] for one in own["words"])
    assert summed == pytest.approx(float(total) / 1.3, abs=1e-3)
    # One word, by its definition, wherever it stands and however it is written.
    [court] = [one for one in own["words"] if one["text"].lower() == "court"]
    places = [m.span() for m in re.finditer(r"\bcourt\b", TEXT, re.IGNORECASE)]
    assert court["spans"] == [list(span) for span in places] and court["count"] == len(places) > 1
    [bucket] = hashed_words("court", BUCKETS)[0].tolist()
    [counts, _] = reference.counts("words", (0, len(TEXT)), (0, 0))
    assert counts[bucket] == len(places)  # no other word has it
    expected = 1.5 * weighed(counts, of_words.idf)[bucket] * float(of_words.weights[bucket, 1])
    for span, share in zip(spans, shares.tolist(), strict=True):
        [counts] = reference.counts("segment_words", span, (0, 0))
        value = weighed(counts, of_segments.idf).get(bucket, 0.0)
        expected += 0.8 * share * value * float(of_segments.weights[bucket, 1])
    assert court["contribution"] == pytest.approx(expected / 1.3, abs=1e-4)
    [pair] = [one for one in own["words"] if one["text"] == "Straße 77"]
    assert TEXT[slice(*pair["spans"][0])] == "Straße 77"


@pytest.mark.parametrize("members", [list(WEIGHTS), ["words"]], ids=["all", "words_alone"])
def test_of_many_parts_the_strongest_are_left_out(encoders, monkeypatch, members) -> None:
    """Also where an answer hangs on words alone, and vectors have no slope."""
    weights = {name: WEIGHTS[name] for name in members}
    model = make_model(encoders["bert"], num_labels=2, logit_weights=weights)
    # One segment decides: the estimate cannot miss it.
    text = f"{TEXT} {' '.join(['moon star moon star sun'] * 4)}. {TEXT}"
    for word in ("moon", "star"):
        [bucket] = hashed_words(word, BUCKETS)[0].tolist()
        model.model.features["words"].weights[bucket] = torch.tensor([40.0, -40.0])
    [every] = model.classify(text, evidence=True, evidence_count=ALL)[0].evidence
    for limit in ("_MOST_SEGMENTS", "_MOST_SENTENCES", "_CHOSEN"):
        monkeypatch.setattr(evidence, limit, 4)
    [some] = model.classify(text, evidence=True, evidence_count=ALL)[0].evidence
    for kind in ("segments", "sentences"):
        known = {(one["start"], one["end"]): one["contribution"] for one in every[kind]}
        assert len(some[kind]) == 4 < len(known)
        for one in some[kind]:
            span = one["start"], one["end"]
            assert one["contribution"] == pytest.approx(known[span], abs=1e-4)
        assert some[kind][0]["start"] == every[kind][0]["start"]
        assert "moon" in text[some[kind][0]["start"] : some[kind][0]["end"]]
    # In more passes than one nothing changes.
    monkeypatch.setattr(evidence, "_SEGMENTS_AT_ONCE", 1)
    [apart] = model.classify(text, evidence=True, evidence_count=ALL)[0].evidence
    for one, other in zip(apart["segments"], some["segments"], strict=True):
        assert one == {**other, "contribution": pytest.approx(other["contribution"], abs=1e-4)}


def test_what_has_no_parts_has_no_evidence(encoders) -> None:
    model = make_model(encoders["bert"])
    empty, word, two = model.classify(["", "moon", "The moon. A star."], evidence=True)
    assert [(one["segments"], one["sentences"], one["words"]) for one in empty.evidence] == [
        ([], [], [])
    ]
    [own] = word.evidence
    assert (own["segments"], own["sentences"]) == ([], [])
    assert [(one["text"], one["spans"]) for one in own["words"]] == [("moon", [[0, 4]])]
    [own] = two.evidence
    assert own["segments"] == [] and len(own["sentences"]) == 2
    # Where a segment's vector is no mean, it is not known without a sentence.
    other = make_model(encoders["bert"], pooling="cls")
    [own] = other.classify(TEXT, evidence=True)[0].evidence
    assert len(own["segments"]) == 5 and own["sentences"] == [] and len(own["words"]) == 5


def test_evidence_changes_no_answer_and_needs_no_gradients(encoders) -> None:
    model = make_model(encoders["bert"], problem_type="multi_label_classification")
    [plain] = model.classify(TEXT)
    with torch.inference_mode():
        [told] = model.classify(TEXT, evidence=True)
    assert told.probabilities == pytest.approx(plain.probabilities, abs=1e-6)
    assert [one["label"] for one in told.evidence] == told.labels
    [none] = model.classify(TEXT, threshold=1.0, evidence=True)
    assert none.labels == [] and none.evidence == []
    [asked] = model.classify(TEXT, threshold=1.0, evidence=["LABEL_2"], evidence_count=2)
    assert [one["label"] for one in asked.evidence] == ["LABEL_2"]
    assert [len(asked.evidence[0][kind]) for kind in ("segments", "sentences", "words")] == [2] * 3
    assert plain.evidence is None
