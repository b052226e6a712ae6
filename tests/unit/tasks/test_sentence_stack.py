"""Sentences scored by linear models, stacked: what is fitted, and that the model says the same."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from small_models import build

from hierbert import HierBertConfig
from hierbert.model.answering import answer_batch
from hierbert.model.central_words import CentralWords
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.tasks import sentence_stack
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.summarization import Extract, Summarization, SummaryTarget

WORDS = ["sea", "law", "art", "day", "film", "road", "hill", "tree"]


class Vectors:
    """The vectors of a frozen encoder, made anew each time."""

    def __init__(self, model) -> None:
        self.model = model

    @torch.no_grad()
    def batch(self, documents):
        answered = answer_batch(self.model, documents)
        return torch.zeros(0), torch.cat([one.sentence_vectors for one in answered])


@pytest.fixture(scope="module")
def parts(encoders: dict[str, Path]):
    """A model, its processor, and documents of which the sentence with one word is the summary."""
    torch.manual_seed(0)
    model, processor = build(encoders["bert"], classification=False, summarization=True)
    model.config.update({"summary_budget": "max_sentences", "summary_limit": 1.0})
    drawn = np.random.default_rng(0)
    documents = []
    for place in range(24):
        count = int(drawn.integers(3, 9))
        sentences = [f"The {' '.join(drawn.choice(WORDS, 4))} of it." for _ in range(count)]
        told = int(drawn.integers(count))
        sentences[told] = f"The {' '.join(drawn.choice(WORDS, 4))} concludes."
        [segmented] = processor.segment([" ".join(sentences)])
        target = SummaryTarget(sentences[told], [float(i == told) for i in range(count)])
        documents.append(PreparedDocument(str(place), segmented, {"summarization": target}))
    return model.eval(), processor, documents


@torch.no_grad()
def scores(model, documents) -> np.ndarray:
    answered = answer_batch(model, [one.segmented for one in documents])
    return torch.cat([one.scores["summarization"] for one in answered]).numpy()


def fit(parts, task, *, vectors=True, layers=None, count=16):
    model, processor, documents = parts
    validation = documents[count:]
    kept, start = [], 0
    if layers is None:
        layers = scores(model, validation) if validation else np.zeros(0, dtype=np.float32)
    for document in validation:
        end = start + len(document.segmented.sentence_spans)
        kept.append(Extract([], None, layers[start:end]))
        start = end
    splits = {"train": documents[:count], "validation": validation}
    source = Vectors(model) if vectors else None
    return task.complete(model, splits, kept, source, processor)


def told(documents) -> np.ndarray:
    return np.concatenate([one.targets["summarization"].sentence_labels for one in documents])


def test_the_model_says_what_the_stack_says_and_so_does_its_copy(
    parts, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(sentence_stack, "_FEWEST_STEPS", 50)
    model, processor, documents = parts
    stack = fit(parts, Summarization(words=True))
    again = fit(parts, Summarization(words=True))
    other = fit(parts, Summarization(words=True, seed=1))
    for name, values in stack.stack.state_dict().items():
        assert torch.equal(values, again.stack.state_dict()[name])
    assert not torch.equal(stack.stack.hidden_weights, other.stack.hidden_weights)
    # Its layers know nothing, and stay out; it has gained something on documents held out, also of
    # those that it was trained on.
    assert stack.weights == {"stack": 1.0}
    held_out = stack.results["sentence_members"]["held_out"]
    assert held_out["documents"] == 24 and held_out["trained"] > 0.9 > held_out["lexrank"] > 0
    assert f"{held_out['trained']:.4f}, LexRank {held_out['lexrank']:.4f}" in stack.line
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pickle.loads(pickle.dumps(stack)).put_into(model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    found = scores(model, documents)
    chosen = np.split(found, np.cumsum([len(d.segmented.sentence_spans) for d in documents])[:-1])
    true = [one.targets["summarization"].sentence_labels.index(1.0) for one in documents]
    hits = np.array([int(own.argmax()) == place for own, place in zip(chosen, true, strict=True)])
    assert hits[16:].mean() == 1.0
    alone = np.concatenate([scores(model, [one]) for one in documents])
    assert alone == pytest.approx(found, abs=1e-5)
    model.save_pretrained(tmp_path)
    HierBertProcessor.from_config(processor.tokenizer, model.config).save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert scores(loaded, documents) == pytest.approx(found, abs=1e-5)
    for file in tmp_path.iterdir():
        assert b"concludes" not in file.read_bytes(), file
    values = model.config.to_dict()
    for name, wrong in (
        ("sentence_weights", {"other": 1.0}),
        ("sentence_stack", {"hidden_units": 0, "networks": 1}),
        ("features", {}),
        ("sentence_queries", ["query_pairs"]),
        ("sentence_queries", ["query_words"]),
    ):
        with pytest.raises(StrictDataclassClassValidationError, match=f"{name}"):
            HierBertConfig.from_dict({**values, name: wrong})
    blank = processor.segment(["", documents[0].segmented.text, "One sentence alone."])
    with torch.no_grad():
        given = [one.scores["summarization"] for one in answer_batch(model, blank)]
    assert [len(one) for one in given] == [0, len(documents[0].segmented.sentence_spans), 1]
    assert given[1].numpy() == pytest.approx(chosen[0], abs=1e-5)
    assert all(bool(one.isfinite().all()) for one in given)


def test_layers_that_know_all_have_a_part(parts) -> None:
    documents = parts[2][16:]
    layers = (told(documents) * 8 - 4).astype(np.float32)
    drawn = np.random.default_rng(1)
    # Words that say nothing: the sentences of the training documents are told at random.
    model, _, all_documents = parts
    misled = []
    for one in all_documents[:16]:
        labels = drawn.permutation(one.targets["summarization"].sentence_labels).tolist()
        reference = one.segmented.sentences[labels.index(1.0)]
        target = SummaryTarget(reference, labels)
        misled.append(PreparedDocument(one.id, one.segmented, {"summarization": target}))
    given = (model, None, [*misled, *documents])
    stack = fit(given, Summarization(words=True), vectors=False, layers=layers)
    assert stack is None or stack.weights["deep"] > 0.3


def prepared(processor, sentences, told, reference=None) -> PreparedDocument:
    """A document of which one sentence is the summary, unless another reference is given."""
    [segmented] = processor.segment([" ".join(sentences)])
    labels = [float(place == told) for place in range(len(segmented.sentence_spans))]
    target = SummaryTarget(sentences[told] if reference is None else reference, labels)
    return PreparedDocument("", segmented, {"summarization": target})


def lexrank_of(documents) -> np.ndarray:
    return CentralWords().collate([one.segmented for one in documents])["scores"].numpy()


@pytest.fixture
def central(encoders: dict[str, Path]):
    """A model, and what makes documents that LexRank summarizes, with labels that may mislead."""
    model, processor = build(encoders["bert"], classification=False, summarization=True)
    model.config.update({"summary_budget": "max_sentences", "summary_limit": 1.0})
    drawn = np.random.default_rng(3)

    def make(is_told: bool) -> PreparedDocument:
        words = ["".join(drawn.choice(list("abcdefghij"), 4)) for _ in range(6)]
        sentences = [f"Now {one} is {one} there." for one in words]
        place = int(drawn.integers(7))
        sentences.insert(place, f"All {' '.join(words)} are.")
        told = place if is_told else int(drawn.choice([n for n in range(7) if n != place]))
        return prepared(processor, sentences, told, sentences[place])

    return model.eval(), processor, make


@pytest.mark.parametrize(("training", "validation"), [(8, 6), (8, 0), (3, 1), (0, 1), (3, 0)])
def test_where_training_gains_nothing_lexrank_is_the_model(
    central, tmp_path, monkeypatch, training, validation
) -> None:
    monkeypatch.setattr(sentence_stack, "_FEWEST_STEPS", 20)
    model, processor, make = central
    documents = [make(False) for _ in range(training)] + [make(True) for _ in range(validation)]
    found = fit((model, processor, documents), Summarization(words=True), count=training)
    assert found.weights == {"central_words": 1.0} and "LexRank alone" in found.line
    assert found.results["sentence_members"]["weights"] == found.weights
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pickle.loads(pickle.dumps(found)).put_into(model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    asked = [make(True), make(True)]
    assert scores(model, asked) == pytest.approx(lexrank_of(asked))
    model.save_pretrained(tmp_path)
    assert scores(type(model).from_pretrained(tmp_path), asked) == pytest.approx(lexrank_of(asked))


def test_odd_documents_are_learnt_from(central, monkeypatch) -> None:
    monkeypatch.setattr(sentence_stack, "_FEWEST_STEPS", 20)
    model, processor, _ = central
    alike = ["All of these are alike."] * 6
    odd = [
        prepared(processor, ["One sentence alone."], 0),
        prepared(processor, alike, 2),
        prepared(processor, ["A short one.", "It ends."], 0, "a reference of many words " * 30),
        prepared(processor, ["???", "!!!"], 0, "..."),
    ]
    for words, vectors in ((True, True), (False, False)):
        task = Summarization(words=words)
        found = fit((model, processor, odd * 2), task, count=4, vectors=vectors)
        if found is None:
            continue
        other = copy.deepcopy(model)
        found.put_into(other)
        assert np.isfinite(scores(other, odd)).all()


def test_too_few_documents_leave_layers_that_know_more_alone(parts) -> None:
    model, processor, documents = parts
    few = (model, processor, [documents[0]] * 16 + documents[16:])
    layers = told(documents[16:]).astype(np.float32)
    assert fit(few, Summarization(words=True), vectors=False, layers=layers) is None
