"""The predictor: answers whose spans fit, that no batch changes, and mistakes told in one line."""

import itertools
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import make_text
from inference import save_model
from small_models import build

from hierbert import HierBertPredictor
from hierbert.errors import ConfigError, DataError, ModelError, RunError
from hierbert.model.selection import count_words
from hierbert.prediction.predictions import Prediction

HARD_TEXTS = [
    "",
    " \n\t ",
    "The 😀 film was good! 👩‍👩‍👧 The plot 🎬. Awful\u200d actor.",
    "هذا فيلم جيد. كان الممثل رائعا؟ نعم.",
    "这部电影很好。演员很棒!情节糟糕?",
    "The court\x00 is red. \x00\x00 A judge.",
    "Half \ud83d a pair. The other \ude00 half.",
    "e\u0301te\u0301 on the hill. İstanbul ẞ ﬁsh.",
    make_text(random.Random(3), 40),
    "\r\n\r\nA heading\r\n\r\nThe sun. The moon.\r\n",
]


@pytest.fixture(scope="module")
def predictor(encoders: dict[str, Path]) -> HierBertPredictor:
    return HierBertPredictor(*build(encoders["bert"]))


@pytest.fixture(scope="module")
def folder(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("saved"), encoders["bert"])


def everything(predictor: HierBertPredictor, texts: object) -> list[Prediction]:
    return list(predictor.predict(texts, predictor.tasks, segment_vectors=True))


def test_every_span_of_hard_texts_points_at_its_sentence(encoders) -> None:
    for kind in ("bert", "roberta"):
        predictor = HierBertPredictor(*build(encoders[kind]))
        rule = predictor.summary_rule({"ratio": 1.0})
        answers = list(predictor.predict(HARD_TEXTS, predictor.tasks, rule, segment_vectors=True))
        assert len(answers) == len(HARD_TEXTS)
        for text, answer in zip(HARD_TEXTS, answers, strict=True):
            for sentence in answer.sentences:
                assert text[sentence.start : sentence.end] == sentence.text
                assert 0 <= sentence.score <= 1
            # With all the words as its budget a summary is the document.
            joined = "".join(sentence.text for sentence in answer.sentences)
            assert "".join(joined.split()) == "".join(text.split())
            assert answer.label in answer.probabilities
            assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
            assert len(answer.document_vector) == 32
            assert len(answer.segment_vectors) == len(answer.segment_spans) >= 1
        assert answers[0].summary == answers[1].summary == "" and answers[0].sentences == []


def test_a_document_may_be_one_text_or_lists_of_sentences_or_segments(predictor) -> None:
    text = "The cat is red. A dog is good."
    (alone,) = predictor.classify(text)
    assert alone == predictor.classify([text])[0]
    (given,) = predictor.summarize([["The cat is red.", "", "A dog"]], max_sentences=3)
    whole = "The cat is red.\n\nA dog"
    assert given.summary == "The cat is red.\nA dog"
    assert [whole[s.start : s.end] for s in given.sentences] == ["The cat is red.", "A dog"]
    segments = [["The cat.", "A dog."], ["The sun."]]
    (embedded,) = predictor.embed([segments], segment_vectors=True)
    assert embedded.segment_spans == [(0, 15), (16, 24)]
    assert embedded.label is None and embedded.summary is None


def test_what_is_no_document_is_refused_with_its_place(predictor) -> None:
    for wrong in (None, 5, b"bytes", ["a", 3]):
        with pytest.raises(DataError, match=r"^texts\[1\]: is "):
            predictor.classify(["The cat.", wrong])


def test_a_summary_keeps_to_every_kind_of_budget(predictor) -> None:
    text = make_text(random.Random(5), 30)
    ids = predictor.processor.tokenizer

    def tokens(sentence: str) -> int:
        return len(ids(sentence, add_special_tokens=False)["input_ids"])

    def size_in(unit: Callable[[str], int]) -> Callable[[Prediction], int]:
        return lambda answer: sum(unit(sentence.text) for sentence in answer.sentences)

    total = count_words(text)
    cases: list[tuple[dict[str, object], Callable[[Prediction], int], int]] = [
        ({"max_words": 25}, size_in(count_words), 25),
        ({"max_sentences": 4}, lambda answer: len(answer.sentences), 4),
        ({"max_tokens": 30}, size_in(tokens), 30),
        ({"max_characters": 90}, lambda answer: len(answer.summary), 90),
        ({"ratio": 0.2}, size_in(count_words), total // 5),
    ]
    shortest = {"max_words": 3, "max_sentences": 1, "max_tokens": 12, "max_characters": 30}
    for budget, size, limit in cases:
        (answer,) = predictor.summarize(text, **budget)
        assert 0 < size(answer) <= limit
        # What is left would not hold a sentence of middle length more.
        assert size(answer) > limit - max(12, 3 * shortest.get(next(iter(budget)), 3))
    (longer,) = predictor.summarize(text)
    assert 80 < size_in(count_words)(longer) <= 100, "the model's own budget is 100 words"


def test_order_and_redundancy(predictor) -> None:
    text = " ".join([make_text(random.Random(6), 12)] * 2)
    (by_place,) = predictor.summarize(text, max_sentences=6)
    (by_score,) = predictor.summarize(text, max_sentences=6, order="score")
    starts = [sentence.start for sentence in by_place.sentences]
    scores = [sentence.score for sentence in by_score.sentences]
    assert starts == sorted(starts) and scores == sorted(scores, reverse=True)
    assert set(by_place.sentences) == set(by_score.sentences)
    assert [s.start for s in by_score.sentences] != starts
    (varied,) = predictor.summarize(text, max_sentences=6, redundancy=0.9)
    # Every sentence is there twice; relevance that counts repetition takes each once.
    assert len({sentence.text for sentence in varied.sentences}) == 6
    for wrong in ({"order": "random"}, {"redundancy": 1.5}, {"ratio": 0.0}, {"max_words": 0}):
        with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}="):
            predictor.summarize(text, **wrong)
    with pytest.raises(ConfigError, match="exactly one of"):
        predictor.summarize(text, max_words=3, max_sentences=1)


def test_other_problems_than_one_label(encoders) -> None:
    names = {0: "art", 1: "law", 2: "sport"}
    texts = HARD_TEXTS[:3]
    model, processor = build(
        encoders["bert"],
        problem_type="multi_label_classification",
        id2label=names,
        summarization=False,
        decision_threshold=0.3,
    )
    for answer in HierBertPredictor(model, processor).classify(texts):
        shares = answer.probabilities
        assert list(shares) == ["art", "law", "sport"] and answer.label is None
        reached = [name for name in shares if shares[name] >= 0.3]
        assert answer.labels == sorted(reached, key=lambda name: -shares[name])
    model.config.decision_threshold = 1.0
    assert HierBertPredictor(model, processor).classify(texts)[0].labels == []
    model, processor = build(
        encoders["bert"], problem_type="regression", num_labels=1, summarization=False
    )
    answers = HierBertPredictor(model, processor).classify(texts)
    with torch.no_grad():
        expected = model(**processor(texts)).logits[:, 0].tolist()
    assert [answer.label for answer in answers] == pytest.approx(expected, abs=1e-5)
    assert all(answer.probabilities is None for answer in answers)


def assert_close(one: Prediction, other: Prediction, tolerance: float = 1e-5) -> None:
    assert one.label == other.label
    assert one.probabilities == pytest.approx(other.probabilities, abs=tolerance)
    assert one.document_vector == pytest.approx(other.document_vector, abs=10 * tolerance)
    assert [(s.start, s.end) for s in one.sentences] == [(s.start, s.end) for s in other.sentences]
    for mine, its in zip(one.sentences, other.sentences, strict=True):
        assert mine.score == pytest.approx(its.score, abs=tolerance)


def test_no_batch_changes_an_answer(encoders) -> None:
    chance = random.Random(7)
    texts = [*HARD_TEXTS, *(make_text(chance, chance.randint(1, 60)) for _ in range(60))]
    model, processor = build(encoders["bert"])
    results = [
        everything(HierBertPredictor(model, processor, batch_tokens, per_forward), texts)
        for batch_tokens, per_forward in ((1, None), (700, 64), (10**6, 10_000))
    ]
    for answers in results[1:]:
        for one, other in zip(answers, results[0], strict=True):
            assert_close(one, other)


def test_an_endless_stream_is_answered_after_a_bounded_look_ahead(encoders) -> None:
    model, processor = build(encoders["bert"])
    taken = 0

    def documents() -> Iterator[str]:
        nonlocal taken
        for _ in itertools.count():
            taken += 1
            yield "The cat is red. A dog is good."

    answers = HierBertPredictor(model, processor, batch_tokens=200).predict(documents())
    for number in range(1, 101):
        next(answers)
        # One batch of at most 20 such documents, and beyond it three calls of 32: one that is
        # read from, two that are segmented meanwhile.
        assert taken <= number + 20 + 3 * 32
    assert taken >= 100


def test_a_document_of_200_000_tokens(encoders) -> None:
    model, processor = build(encoders["bert"], max_tokens_per_segment=512)
    text = make_text(random.Random(8), 24_000)
    assert count_words(text) + text.count(".") > 200_000  # each of them is a token
    (answer,) = everything(HierBertPredictor(model, processor), text)
    assert answer.segment_spans[-1][1] == len(text) and answer.omission is None
    assert 80 < count_words(answer.summary) <= 100
    assert all(text[s.start : s.end] == s.text for s in answer.sentences)


def test_what_max_segments_leaves_out_is_reported(encoders) -> None:
    predictor = HierBertPredictor(*build(encoders["bert"], max_segments=2))
    short, long = predictor.summarize(["The cat.", make_text(random.Random(9), 50)])
    assert short.omission is None
    assert long.omission.segments >= 3 and long.omission.characters > 500


@pytest.mark.parametrize("pooling", ["mean", "attention", "max"])
def test_bfloat16_answers_come_close(encoders, pooling, tmp_path) -> None:
    """Stated tolerance: 0.05 in probabilities and scores, 0.15 in vectors of size about 1."""
    save_model(tmp_path, encoders["bert"], pooling=pooling)
    full, half = (
        HierBertPredictor.from_pretrained(tmp_path, dtype=dtype)
        for dtype in ("float32", "bfloat16")
    )
    assert half.model.dtype == torch.bfloat16
    whole = half.summary_rule({"ratio": 1.0})
    exact, close = (
        list(model.predict(HARD_TEXTS[2:], model.tasks, whole)) for model in (full, half)
    )
    for one, other in zip(exact, close, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.05)
        assert one.document_vector == pytest.approx(other.document_vector, abs=0.15)
        assert one.document_vector != other.document_vector
        for mine, its in zip(one.sentences, other.sentences, strict=True):
            assert mine.score == pytest.approx(its.score, abs=0.05)


def test_a_task_without_a_head_and_an_unknown_one_are_refused(encoders) -> None:
    classifier = HierBertPredictor(*build(encoders["bert"], summarization=False))
    with pytest.raises(ModelError, match=r"cannot summarize: .* it can classify, embed"):
        classifier.summarize("The cat.")
    summarizer = HierBertPredictor(*build(encoders["bert"], classification=False))
    with pytest.raises(ModelError, match=r"cannot classify: .* it can summarize, embed"):
        summarizer.classify("The cat.")
    (answer,) = summarizer.predict("The cat.")
    assert answer.summary == "The cat." and answer.label is None
    with pytest.raises(ConfigError, match="task 'translate' is not allowed"):
        next(summarizer.predict("The cat.", "translate"))


def test_weights_that_give_no_numbers_are_told(encoders) -> None:
    model, processor = build(encoders["bert"])
    with torch.no_grad():
        model.classifier.output.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"not give finite numbers in torch.float32"):
        HierBertPredictor(model, processor).classify("The cat.")


def test_too_little_memory_is_told_with_what_to_lower(encoders, monkeypatch) -> None:
    model, processor = build(encoders["bert"])

    def fail(**inputs: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(RunError, match=r"cpu has too little memory; lower"):
        HierBertPredictor(model, processor).classify("The cat.")


def test_tokens_per_forward_is_the_models_own_unless_given(encoders) -> None:
    model, processor = build(encoders["bert"], tokens_per_forward=77)
    encoder = model.hierbert.segment_encoder
    HierBertPredictor(model, processor)
    assert encoder.tokens_per_forward == 77
    HierBertPredictor(model, processor, tokens_per_forward=55)
    assert encoder.tokens_per_forward == 55
    for name in ("batch_tokens", "tokens_per_forward"):
        with pytest.raises(ConfigError, match=f"{name}=0 is not allowed"):
            HierBertPredictor(model, processor, **{name: 0})


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "vulkan", "", "cpu:x"])
def test_a_device_that_is_not_there(folder, device) -> None:
    with pytest.raises(ConfigError, match=f"^device '{device}' cannot be used here: ") as caught:
        HierBertPredictor.from_pretrained(folder, device=device)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_a_dtype_that_is_not_allowed(folder) -> None:
    with pytest.raises(ConfigError, match="choose from float32, bfloat16, float16, int8, auto"):
        HierBertPredictor.from_pretrained(folder, dtype="int4")


def _edit(**values: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return edit


def _cut(size: int) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:size])

    return cut


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text)


class _Bomb:
    """Unpickling this would fail the test."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle was opened",)


def _only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(_Bomb(), folder / "pytorch_model.bin")


def _move_into_model(folder: Path) -> None:
    inside = folder / "model"
    inside.mkdir()
    for path in [path for path in folder.iterdir() if path != inside]:
        path.rename(inside / path.name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "there is no model folder .*copy; did you mean '.*/copi'"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing$"),
        (_move_into_model, "config.json is missing; did you mean '.*copy/model'"),
        (_edit(model_type="bert"), "a model of type 'bert'; hierbert loads what train.py saved"),
        (_write("config.json", '{"model_type": '), "config.json cannot be read: Expecting value"),
        (_write("config.json", "[1]"), "config.json holds no JSON object"),
        (_edit(pooling="medial"), "pooling='medial' is not allowed; choose from mean"),
        (_edit(overlap_sentences="x"), "'overlap_sentences'.*int"),
        (_edit(text_config={"model_type": "nosuch"}), "model_type 'nosuch' is none that"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no weights: no .safetensors"),
        (_only_pickle, "holds no weights: .*; pytorch_model.bin is not read"),
        (_cut(5000), "cannot be loaded: .*header"),
        (_cut(-100), r"is damaged or not whole \("),
        (_cut(0), "cannot be loaded: .*header"),
        (_edit(sentence_layers=2), r"lacks 12 weights, such as summarizer\.context\.layers\.1"),
        (
            _edit(id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}),
            r"2 weights of another shape .* classifier.output.bias: \(3,\), where \(2,\) is needed",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "the tokenizer of model .* cannot be loaded"),
        (_write("tokenizer.json", '{"a": 1}'), "the tokenizer of model .* cannot be loaded"),
        (_write("tokenizer_config.json", "{"), "the tokenizer of model .* cannot be loaded"),
    ],
)
def test_a_damaged_model_folder_is_one_line(folder, damage, message, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (tmp_path / "copi").mkdir()
    damage(copy)
    with pytest.raises(ModelError, match=message) as caught:
        HierBertPredictor.from_pretrained(copy)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_a_name_that_is_no_folder_is_looked_for_where_it_can_be(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("nosuch", "runs/nosuch", "runs/a/model", "~/nosuch"):
        with pytest.raises(ModelError, match="there is no model folder"):
            HierBertPredictor.from_pretrained(name)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is no model folder but a file"):
        HierBertPredictor.from_pretrained("file")
    # Tests are offline: a Hub id is asked for there, and nowhere else.
    with pytest.raises(ModelError, match="model user/name cannot be loaded: "):
        HierBertPredictor.from_pretrained("user/name")
