"""How near documents are to what labels are called."""

import numpy as np
import torch

from hierbert.model.name_vectors import NameVectors


def test_scores_are_cosines_of_means_and_names() -> None:
    drawn = np.random.default_rng(0)
    segments, names = drawn.normal(size=(5, 8)), drawn.normal(size=(3, 8))
    member = NameVectors(8, 3)
    member.vectors.copy_(torch.from_numpy(names))
    found = member.of_segments(torch.from_numpy(segments), torch.tensor([2, 3]))
    for row, mean in enumerate((segments[:2].mean(0), segments[2:].mean(0))):
        for column, name in enumerate(names):
            cosine = mean @ name / np.linalg.norm(mean) / np.linalg.norm(name)
            assert abs(float(found[row, column]) - 10 * cosine) < 1e-5
    # A name without words is near nothing.
    member.vectors[1] = 0
    assert member.of_segments(torch.ones(1, 8), torch.tensor([1]))[0, 1] == 0
