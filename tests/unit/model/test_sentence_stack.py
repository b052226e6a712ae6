"""What the networks read of a sentence: its scores beside those of its neighbours, and cosines."""

import numpy as np
import torch
from conftest import make_tokenizer

from hierbert.model.segmentation import Segmenter
from hierbert.model.sentence_columns import sentence_columns
from hierbert.model.sentence_stack import closeness, stacked

LENGTHS = [1, 5, 45]


def standing_out(values: np.ndarray) -> np.ndarray:
    # What hardly differs is not made to.
    return (values - values.mean(0)) / (values.std(0) + 1e-2)


def test_neighbours_are_those_of_the_document_and_0_beyond_its_ends() -> None:
    drawn = np.random.default_rng(0)
    scores, columns = drawn.normal(size=(sum(LENGTHS), 2)), drawn.normal(size=(sum(LENGTHS), 3))
    expected = []
    for own, its in zip(
        np.split(scores, np.cumsum(LENGTHS)[:-1]),
        np.split(columns, np.cumsum(LENGTHS)[:-1]),
        strict=True,
    ):
        alone, nothing = standing_out(own), np.zeros((3, 2))
        padded = np.concatenate([nothing, alone, nothing])
        for place, row in enumerate(its):
            near = padded[place : place + 7]
            expected.append([*row, *own[place], *near[3], *near[2], *near[4], *near.mean(0)])
    given = (torch.tensor(each, dtype=torch.float32) for each in (scores, columns))
    found = stacked(*given, torch.tensor(LENGTHS))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_cosines_are_to_the_mean_and_to_the_first_twentieth() -> None:
    vectors = np.random.default_rng(1).normal(size=(sum(LENGTHS), 4))
    expected = []
    for own in np.split(vectors, np.cumsum(LENGTHS)[:-1]):
        centers = own.mean(0), own[: max(1, len(own) // 20)].mean(0)
        cosines = np.stack(
            [own @ c / np.linalg.norm(own, axis=1) / np.linalg.norm(c) for c in centers], 1
        )
        expected.append(np.concatenate([cosines[:, :1], standing_out(cosines)], 1))
    found = closeness(torch.tensor(vectors, dtype=torch.float32), torch.tensor(LENGTHS))
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-3)


def test_centrality_is_of_words_that_few_sentences_have() -> None:
    drawn = np.random.default_rng(2)
    rows = drawn.integers(0, 30, (45, 6))
    [document] = Segmenter(make_tokenizer("bert"))([[f"Sentence {n}." for n in range(45)]])
    hashes = torch.tensor(rows.ravel())
    found = sentence_columns(document, hashes, torch.full((45,), 6))[:, -3:]
    counts = np.stack([np.bincount(row, minlength=30) for row in rows]).astype(float)
    weighed = counts * np.log(46 / (1 + (counts > 0).sum(0)))
    weighed /= np.linalg.norm(weighed, axis=1, keepdims=True)
    # To all sentences, and to the first twentieth of them.
    centers = np.stack([weighed.sum(0), weighed[:2].sum(0)], 1)
    cosines = weighed @ (centers / np.linalg.norm(centers, axis=0))
    expected = np.concatenate([cosines[:, :1], standing_out(cosines)], 1)
    np.testing.assert_allclose(found, expected, atol=1e-3)
