"""Words, vectors and layers in one sum: what is fitted, and that the model says the same."""

import math
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from small_models import build

from hierbert.model.answering import answer_batch
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.scoring.logistic import Targets
from hierbert.tasks.members import gains
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.stacking import Labelled, fit_stack

LABELS = {0: "art", 1: "law", 2: "sea"}
# One word of each text decides; what the encoder of these tests makes of it is noise.
TEXTS = [f"{('art', 'law', 'sea')[place % 3]} of the day {place % 7}" for place in range(60)]


class Vectors:
    """The vectors of a frozen encoder, made anew each time."""

    def __init__(self, model) -> None:
        self.model = model

    @torch.no_grad()
    def batch(self, documents):
        answered = answer_batch(self.model, documents, [])
        return torch.cat([one.segment_vectors for one in answered]), torch.zeros(0)


@pytest.fixture
def parts(encoders: dict[str, Path]):
    torch.manual_seed(0)
    model, processor = build(encoders["bert"], id2label=LABELS, summarization=False)
    documents = [
        PreparedDocument(str(place), one, {"classification": place % 3})
        for place, one in enumerate(processor.segment_each(TEXTS))
    ]
    return model.eval(), processor, documents


def labelled(documents) -> Labelled:
    numbers = [one.targets["classification"] for one in documents]
    return Labelled(documents, Targets(np.eye(3)[numbers], False))


def fit(parts, deep, *, words=True, vectors=True):
    model, _, documents = parts
    train, validation = labelled(documents[:45]), labelled(documents[45:])
    source = Vectors(model) if vectors else None
    return fit_stack(train, validation, deep, words=words, vectors=source)


@torch.no_grad()
def answers(model, documents) -> np.ndarray:
    answered = answer_batch(model, [one.segmented for one in documents])
    return np.array([one.scores["classification"].tolist() for one in answered])


def test_the_model_says_what_the_sum_says_and_so_does_its_copy(parts, tmp_path) -> None:
    model, processor, documents = parts
    validation = documents[45:]
    generator = np.random.default_rng(0)
    # Layers that know something, so that all three have a part.
    deep = answers(model, validation)
    known = labelled(validation).targets.labels
    stack = fit(parts, deep + known + generator.normal(size=(15, 3)) * 0.1)
    assert set(stack.weights) == {"words", "vectors", "deep"}
    assert stack.held_out.documents == validation
    before = answers(model, documents)
    stack.put_into(model)
    after = answers(model, documents)
    members = stack.members(documents, after.tolist(), model.config, Vectors(model))
    assert np.array(members["deep"][1]) == pytest.approx(before, abs=1e-3)
    total = stack.bias.numpy() + sum(
        stack.weights[name] * np.array(members[name][1]) for name in ("words", "vectors")
    )
    assert total + stack.weights["deep"] * before == pytest.approx(after, abs=1e-4)
    alone = np.concatenate([answers(model, [one]) for one in documents[:5]])
    assert alone == pytest.approx(after[:5], abs=1e-5)
    model.save_pretrained(tmp_path)
    HierBertProcessor.from_config(processor.tokenizer, model.config).save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert answers(again, documents) == pytest.approx(after, abs=1e-5)


def test_words_decide_where_the_layers_know_nothing(parts) -> None:
    model, _, documents = parts
    validation = documents[45:]
    stack = fit(parts, np.random.default_rng(0).normal(size=(15, 3)))
    assert "deep" not in stack.weights
    stack.put_into(model)
    logits = answers(model, validation)
    assert logits.argmax(1).tolist() == [one.targets["classification"] for one in validation]
    # Without the layers, training documents are held out too: each by a fit that had not seen it.
    assert len(stack.held_out.documents) == len(stack.held_out.kept) == 60
    assert np.array(stack.held_out.kept)[45:] == pytest.approx(logits, abs=1e-4)
    held_out = np.array(stack.held_out.kept)[:45]
    seen = answers(model, documents[:45])
    truth = labelled(documents[:45]).targets.labels
    assert Targets(truth, False).losses(held_out).mean() > Targets(truth, False).losses(seen).mean()
    loss = stack.results["members"]["log_loss"]
    assert loss["sum"] == pytest.approx(Targets(truth, False).losses(held_out).mean())
    assert loss["sum"] < loss["vectors"] < math.log(3) + 0.3


def test_words_of_segments_decide_where_they_stand_together(encoders) -> None:
    # All documents have the same words, in any order; in some two of them share a segment.
    model, processor = build(
        encoders["bert"], num_labels=2, summarization=False, max_tokens_per_segment=32
    )
    chance = random.Random(0)
    texts, numbers = [], [place % 2 for place in range(120)]
    for together in numbers:
        fill = [["day", "sea", "was", "over", "then", "home"] for _ in range(4)]
        first, second = chance.sample(range(4), 2)
        fill[first].append("law")
        fill[first if together else second].append("art")
        for words in fill:
            chance.shuffle(words)
        texts.append(" ".join(" ".join(words).capitalize() + "." for words in fill))
    documents = [
        PreparedDocument(str(place), one, {"classification": numbers[place]})
        for place, one in enumerate(processor.segment_each(texts))
    ]
    labels = Targets(np.eye(2)[numbers], False)
    train = Labelled(documents[:100], labels[np.arange(100)])
    validation = Labelled(documents[100:], labels[np.arange(100, 120)])
    stack = fit_stack(train, validation, np.zeros((20, 2)), words=True, vectors=None)
    losses = stack.results["members"]["log_loss"]
    assert losses["segment_words"] < 0.9 * losses["words"]
    assert stack.weights["segment_words"] > 0
    stack.put_into(model.eval())
    logits = answers(model, documents)
    assert np.array(stack.held_out.kept)[100:] == pytest.approx(logits[100:], abs=1e-4)
    alone = np.concatenate([answers(model, [one]) for one in documents[:5]])
    assert alone == pytest.approx(logits[:5], abs=1e-5)
    assert (logits.argmax(1) == numbers).mean() > 0.9


def test_layers_that_know_all_take_over_from_words_that_mislead(parts) -> None:
    train, validation = labelled(parts[2][:45]), labelled(parts[2][45:])
    shuffled = Labelled(
        train.documents, train.targets[np.random.default_rng(0).permutation(len(train.targets))]
    )
    deep = validation.targets.labels * 8
    stack = fit_stack(shuffled, validation, deep, words=True, vectors=None)
    assert stack.weights["deep"] > 0.3
    found = np.array(stack.held_out.kept)
    assert validation.targets.losses(found).mean() < 0.1


@pytest.mark.parametrize(("words", "vectors"), [(True, False), (False, True)])
def test_members_may_be_left_out(parts, words, vectors) -> None:
    stack = fit(parts, np.zeros((15, 3)), words=words, vectors=vectors)
    assert set(stack.weights) == ({"words"} if words else {"vectors"})


def test_too_little_to_fit_anything_leaves_the_layers_alone(parts) -> None:
    assert fit(parts, np.zeros((15, 3)), words=False, vectors=False) is None
    documents = parts[2]
    few = labelled(documents[:3])
    assert fit_stack(few, few, np.zeros((3, 3)), words=True, vectors=None) is None
    same = labelled([documents[0]] * 8)
    none = Labelled([], Targets(np.zeros((0, 3)), False))
    assert fit_stack(same, none, np.zeros((0, 3)), words=True, vectors=None) is None


def test_no_labelled_validation_document_gives_the_layers_no_part(parts) -> None:
    none = Labelled([], Targets(np.zeros((0, 3)), False))
    train = labelled(parts[2][:45])
    stack = fit_stack(train, none, np.zeros((0, 3)), words=True, vectors=None)
    assert stack.weights.keys() == {"words"}


def test_a_member_that_weighs_nothing_does_not_travel(parts) -> None:
    # Texts say nothing of these labels, vectors neither: the layers know all.
    train, validation = labelled(parts[2][:45]), labelled(parts[2][45:])
    shuffled = Labelled(
        train.documents, train.targets[np.random.default_rng(1).permutation(len(train.targets))]
    )
    stack = fit_stack(
        shuffled,
        validation,
        validation.targets.labels * 8,
        words=True,
        vectors=Vectors(parts[0]),
    )
    assert all(weight > 0 for weight in stack.weights.values())
    assert set(stack.words) == {"words", "segment_words"} & set(stack.weights)
    assert ("vectors" in stack.of_segments) == ("vectors" in stack.weights)


def test_vectors_that_are_not_finite_leave_their_member_out(parts, caplog) -> None:
    class Broken(Vectors):
        def batch(self, documents):
            found, sentences = super().batch(documents)
            found[0, 0] = torch.nan
            return found, sentences

    train, validation = labelled(parts[2][:45]), labelled(parts[2][45:])
    deep = np.zeros((15, 3))
    given = {"words": True, "vectors": Broken(parts[0])}
    stack = fit_stack(train, validation, deep, **given)
    assert stack.weights.keys() == {"words"} and "not finite" in caplog.text


def test_what_travels_between_processes_is_without_documents(parts) -> None:
    stack = fit(parts, np.zeros((15, 3)))
    copied = pickle.loads(pickle.dumps(stack))
    assert not copied.held_out.documents and not copied.apart
    assert copied.weights == stack.weights and torch.equal(
        copied.words["words"].weights, stack.words["words"].weights
    )
    assert stack.held_out.documents


def test_what_a_checkpoint_lacks_begins_empty_and_other_labels_are_refused(parts, tmp_path) -> None:
    model = parts[0]
    model.save_pretrained(tmp_path)
    kind = type(model)
    loaded = kind.from_pretrained(tmp_path, logit_weights={"vectors": 1.0, "deep": 1.0})
    linear = loaded.classifier.linear
    assert not linear.weights.any() and not linear.bias.any() and (linear.scale == 1).all()
    assert not loaded.classifier.bias.any()
    fit(parts, np.zeros((15, 3))).put_into(model)
    model.save_pretrained(tmp_path / "stacked")
    with pytest.raises(StrictDataclassClassValidationError, match="has 5 labels"):
        kind.from_pretrained(tmp_path / "stacked", num_labels=5, ignore_mismatched_sizes=True)
    with pytest.raises(ValueError, match=r"features\.words.*HierBertProcessor"):
        model(
            segment_vectors=torch.zeros(1, model.config.hidden_size),
            segments_per_document=torch.tensor([1]),
            sentences_per_document=torch.tensor([1]),
        )


def test_steps_learn_the_layers_of_a_model_whose_sum_has_no_layers(parts) -> None:
    model, processor, _ = parts
    fit(parts, np.random.default_rng(0).normal(size=(15, 3))).put_into(model)
    model.train()
    processor = HierBertProcessor.from_config(processor.tokenizer, model.config)
    loss = model(**processor(TEXTS[:4]), labels=torch.tensor([0, 1, 2, 0])).loss
    loss.backward()
    assert model.classifier.output.weight.grad.abs().sum() > 0


def test_a_gain_is_told_from_chance_by_its_standard_error() -> None:
    # Of 16 losses that fall by 3 or rise by 1 the mean gain is 1, and its standard error a half.
    before, after = np.full(16, 5.0), np.tile([2.0, 6.0], 8)
    assert gains(before, after) and gains(before, after, 1.99)
    assert not gains(before, after, 2.01) and not gains(after, before, 0.0)
    assert not gains(before, before, 0.0)
