"""What answers to a question share that is asked of many documents."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import build

from hierbert.model.heads import Structure
from hierbert.tasks.sentence_query import fit_pairs
from hierbert.tasks.sentence_stack import Labelled

PLACES = ["sea", "law", "art", "day", "film", "road", "hill", "tree"]


def asked(encoders: dict[str, Path], questions: list[str], count: int, seed: int = 0) -> Labelled:
    """Documents of which one sentence says who, one when; each answers one question in turn."""
    _, processor = build(encoders["bert"], classification=False, summarization=True)
    drawn = np.random.default_rng(seed)
    documents, labels = [], []
    for number in range(count):
        place = number % 2
        own = [f"It is the {drawn.choice(PLACES)} of {drawn.choice(PLACES)}." for _ in range(4)]
        answers = ["Authors wrote it.", "Years went by."]
        first, second = drawn.permutation(6)[:2]
        sentences = [*own]
        for at, text in sorted(zip((first, second), answers, strict=True)):
            sentences.insert(at, text)
        [segmented] = processor.segment([sentences])
        [query] = processor.segment([questions[number % len(questions)]])
        documents.append(replace(segmented, query=query))
        labels += [float(text == answers[place]) for text in sentences]
    return Labelled(
        documents, np.array(labels), np.ones(len(labels), bool), [lambda _: 0.0] * count
    )


def test_a_question_of_many_documents_is_known_by_its_answers(encoders) -> None:
    pairs = fit_pairs(asked(encoders, ["Who did it?", "When, at last?"], 40))
    assert pairs is not None
    new = asked(encoders, ["WHO  did it", "When, at last?"], 10, seed=1)
    each = np.split(new.labels, np.cumsum(new.lengths)[:-1])
    for document, labels in zip(new.documents, each, strict=True):
        lengths = torch.tensor([len(document.sentence_spans)])
        found = pairs(pairs.collate([document]), Structure(torch.ones_like(lengths), lengths))
        assert int(found.argmax()) == labels.argmax()


@pytest.mark.parametrize("count", [18, 3, 0])
def test_of_questions_that_are_asked_seldom_nothing_is_learnt(encoders, count) -> None:
    assert fit_pairs(asked(encoders, ["Who did it?", "When, at last?"], count)) is None
