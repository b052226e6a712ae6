"""What a sentence's score is made of: it adds up, and each kind has what is its own alone."""

from itertools import permutations
from pathlib import Path

import pytest
import torch
from small_models import build

from hierbert.model import sentence_evidence as module
from hierbert.model.answering import answer_batch
from hierbert.model.central_words import CentralWords
from hierbert.model.sentence_columns import COLUMN_KINDS
from hierbert.model.sentence_features import SentenceFeatures

TEXT = (
    "The sea is law. A road (2019) leads to the hill, and the hill to 17 trees!\n\n"
    "Methods\n\nWe study the road. Does it end? The law of the sea ends at the road.\n\n"
    "Trees are art. The film of the day is long; nobody has seen the whole of it. The end."
)
WEIGHTS = {"stack": 0.7, "central_words": 0.4, "deep": 0.2}


@pytest.fixture
def parts(encoders: dict[str, Path]):
    """A model whose every number says something, and its answer about a document."""
    own = {"buckets": 64, "heading_buckets": 16}
    model, processor = build(
        encoders["bert"],
        classification=False,
        sentence_weights=WEIGHTS,
        sentence_stack={"vectors": True, "hidden_units": 8, "networks": 2},
        features={SentenceFeatures.name: own, CentralWords.name: {}},
    )
    generator = torch.Generator().manual_seed(0)
    for owner in (model.heads["summarization"].stack, model.features[SentenceFeatures.name]):
        for name, buffer in owner.named_buffers():
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.3)
            if name.endswith("scale"):
                buffer.copy_(buffer.abs() + 1)
    return model.eval(), processor.segment([TEXT])[0]


def told(model, document, sentences):
    with torch.no_grad():
        [answered] = answer_batch(model, [document])
    everything = range(len(document.sentence_spans))
    head = model.heads["summarization"]
    return answered, module.sentence_evidence(model, head, answered, sentences, everything)


def added(one: dict[str, float]) -> dict[str, float]:
    return {kind: value for kind, value in one.items() if kind not in ("logit", "average")}


def test_kinds_add_up_to_the_score_less_the_average(parts) -> None:
    answered, evidence = told(*parts, [0, 3, 5])
    scores = answered.scores["summarization"]
    kinds = {"words", "vectors", "place", "form", "centrality", "layers"}
    for sentence, one in zip([0, 3, 5], evidence, strict=True):
        assert set(added(one)) == kinds
        assert one["logit"] == pytest.approx(float(scores[sentence]), abs=1e-5)
        assert one["average"] == pytest.approx(float(scores.mean()), abs=1e-4)
        assert one["average"] + sum(added(one).values()) == pytest.approx(one["logit"], abs=1e-4)
        assert all(abs(value) > 1e-4 for value in added(one).values())


def test_each_kind_is_the_mean_over_all_orders_and_other_sentences(parts) -> None:
    model, document = parts
    answered, evidence = told(model, document, [3])
    stack = model.heads["summarization"].stack
    features = module._features(model, "summarization", answered)
    whole, by_kind = module._inputs(stack, model, features, answered.sentence_vectors)
    same = whole - sum(by_kind.values())
    assert torch.allclose(same, same[:1].expand_as(same), atol=1e-4)
    gains = dict.fromkeys(by_kind, 0.0)
    count = 0
    for other in range(len(whole)):
        for order in permutations(by_kind):
            read = whole[other].clone()
            before = stack.mean_score(stack.standardised(read[None]))
            for kind in order:
                read += by_kind[kind][3] - by_kind[kind][other]
                after = stack.mean_score(stack.standardised(read[None]))
                gains[kind] += float(after - before)
                before = after
            count += 1
    for kind, total in gains.items():
        expected = WEIGHTS["stack"] * total / count
        if kind == "centrality":
            central = features[CentralWords.name]
            expected += WEIGHTS["central_words"] * float(central[3] - central.mean())
        assert evidence[0][kind] == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["words", "vectors", "place", "form", "centrality", "layers"])
def test_what_says_nothing_adds_nothing(parts, kind) -> None:
    model, document = parts
    head, features = model.heads["summarization"], model.features[SentenceFeatures.name]
    stack = head.stack
    count = len(COLUMN_KINDS) + 3
    models = stack.models + 2
    read = {"vectors": [stack.models], "centrality": [stack.models + 1]}.get(kind, [])
    dead = [place for place, own in enumerate([*COLUMN_KINDS, *["vectors"] * 3]) if own == kind]
    dead += [count + models * block + own for block in range(5) for own in read]
    for name in ("hidden_weights", "direct_weights"):
        getattr(stack, name)[:, dead] = 0
    features.column_weights[[own == kind for own in COLUMN_KINDS]] = 0
    if kind == "words":
        features.word_weights.zero_()
        features.heading_weights.zero_()
    head.sentence_weights = {
        name: weight
        for name, weight in WEIGHTS.items()
        if (name, kind) not in (("deep", "layers"), ("central_words", "centrality"))
    }
    _, evidence = told(model, document, [0, 3, 5])
    for one in evidence:
        assert one.get(kind, 0.0) == pytest.approx(0, abs=1e-5)
        others = {name: value for name, value in added(one).items() if name != kind}
        assert all(abs(value) > 1e-4 for value in others.values())


def test_no_sentences_have_no_evidence(parts) -> None:
    assert told(*parts, [])[1] == []
