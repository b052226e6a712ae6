"""Vectors of trees: distances by the book, what is learnt, and how it is scored."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hierbert.errors import DataError
from hierbert.taxonomy import embedding, fit_checkpoint
from hierbert.taxonomy.embedding import (
    TreeVectors,
    ancestor_pairs,
    fit_tree_vectors,
    reconstruction,
)
from hierbert.taxonomy.fit_checkpoint import FitCheckpoint
from hierbert.taxonomy.tree import Groups, Taxonomy
from hierbert.taxonomy.vector_files import read_tree_vectors, write_tree_vectors


def complete(levels: int, children: int) -> Taxonomy:
    """A tree in which each node above the last level has as many children."""
    parents: list[list[int]] = [[]]
    last = [0]
    for _ in range(levels - 1):
        last = [
            parents.append([node]) or len(parents) - 1 for node in last for _ in range(children)
        ]
    return Taxonomy(map(str, range(len(parents))), parents)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 6.0])
def test_distances_are_those_of_the_ball(scale: float) -> None:
    """Nickel and Kiela 2017, equation 1, by the inverse of cosh in 128 bits."""
    drawn = np.random.default_rng(0).normal(size=(6, 3))
    tangents = drawn / np.linalg.norm(drawn, axis=1)[:, None] * np.linspace(0.1, 1, 6)[:, None]
    tangents *= scale
    found = embedding._of_tangents(torch.from_numpy(tangents), torch.from_numpy(tangents)).numpy()
    wide = tangents.astype(np.longdouble)
    lengths = np.sqrt((wide**2).sum(1))
    points = wide * (np.tanh(lengths / 2) / lengths)[:, None]
    squares = ((points[:, None] - points) ** 2).sum(-1)
    inside = 1 - (points**2).sum(1)
    expected = np.arccosh(1 + 2 * squares / (inside[:, None] * inside))
    apart = ~np.eye(6, dtype=bool)
    assert found[apart] == pytest.approx(expected[apart].astype(float), rel=1e-5)
    # As far from the middle as the tangent vector is long.
    origin = embedding._of_tangents(torch.from_numpy(tangents), torch.zeros(1, 3).double())
    assert origin[:, 0].numpy() == pytest.approx(lengths.astype(float), rel=1e-5)
    vectors = TreeVectors(tuple("abcdef"), points.astype(float))
    assert vectors.distances(np.arange(6))[apart] == pytest.approx(found[apart], rel=1e-4)


def test_two_points_at_one_place_have_a_slope() -> None:
    points = torch.full((2, 3), 0.3, dtype=torch.float64, requires_grad=True)
    embedding._of_tangents(points, points).sum().backward()
    assert points.grad is not None and bool(points.grad.isfinite().all())


def test_a_reconstruction_is_what_counting_by_hand_finds() -> None:
    """A chain a, b, c and d beside b; on a line, with one tie."""
    taxonomy = Taxonomy("abcd", [[], [0], [1], [0]])
    line = TreeVectors(taxonomy.nodes, np.array([[0.0], [2.0], [1.0], [3.0]]), euclidean=True)
    # b: a at 2; of the others c at 1 and d at 1 are nearer: rank 3, precision 1/3.
    # c: a at 1, b at 1; d at 2 is farther: ranks 1 and 1, precision 1.
    # d: a at 3; b at 1 and c at 2 are nearer: rank 3, precision 1/3.
    found = reconstruction(line, taxonomy)
    assert found["mean_rank"] == pytest.approx((3 + 1 + 1 + 3) / 4)
    assert found["map"] == pytest.approx((1 / 3 + 1 + 1 / 3) / 3)
    # Of c's, a alone: b is above c too and left out of the ranking.
    only = reconstruction(line, taxonomy, Groups.of([[], [], [0], []]))
    assert only == {"mean_rank": 1.0, "map": 1.0}
    tie = TreeVectors(taxonomy.nodes, np.array([[0.0], [2.0], [1.0], [2.0]]), euclidean=True)
    assert reconstruction(tie, taxonomy, Groups.of([[], [], [1], []]))["mean_rank"] == 2


def test_a_small_tree_is_found_whole_and_the_same_seed_finds_the_same() -> None:
    taxonomy = complete(3, 3)
    vectors = fit_tree_vectors(taxonomy, 4, epochs=100)
    assert reconstruction(vectors, taxonomy) == {"mean_rank": 1.0, "map": 1.0}
    assert (np.linalg.norm(vectors.points, axis=1) < 1).all()
    before, again, other = (fit_tree_vectors(taxonomy, 4, epochs=1, seed=n) for n in (0, 0, 1))
    assert reconstruction(before, taxonomy)["map"] < 0.8
    assert np.array_equal(before.points, again.points)
    assert not np.array_equal(before.points, other.points)


def test_steps_that_compare_with_a_part_of_a_tree_find_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "_ALL_NODES", 10)
    monkeypatch.setattr(embedding, "_NODES_PER_STEP", 16)
    monkeypatch.setattr(embedding, "_DRAWN_NODES", 16)
    taxonomy = complete(3, 4)
    vectors = fit_tree_vectors(taxonomy, 4, epochs=80)
    assert reconstruction(vectors, taxonomy)["map"] > 0.95


def test_held_out_pairs_are_far_ones_and_no_longer_learnt() -> None:
    taxonomy = complete(4, 3)
    kept, out = ancestor_pairs(taxonomy, 0.1, seed=3)
    every, none = ancestor_pairs(taxonomy)
    assert len(none.values) == 0 and len(every.values) == 3 + 9 * 2 + 27 * 3
    assert len(out.values) == round(0.1 * len(every.values))

    def pairs_of(pairs: Groups) -> set[tuple[int, int]]:
        return {*zip(pairs.owners.tolist(), pairs.values.tolist(), strict=True)}

    assert pairs_of(kept) | pairs_of(out) == pairs_of(every)
    assert not pairs_of(kept) & pairs_of(out)
    assert all(one not in taxonomy.parents[node] for node, one in pairs_of(out))
    vectors = fit_tree_vectors(taxonomy, 5, pairs=kept, epochs=100)
    assert reconstruction(vectors, taxonomy, kept)["map"] > 0.99
    # What is not known is not pushed away either.
    assert reconstruction(vectors, taxonomy, out)["map"] > 0.5


def test_files_hold_what_was_written(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(3, 4))
    for euclidean in (False, True):
        path = tmp_path / f"{euclidean}.parquet"
        write_tree_vectors(path, TreeVectors(("a", "b", "\x00c"), points, euclidean), {})
        found = read_tree_vectors(path)
        assert (found.nodes, found.euclidean) == (("a", "b", "\x00c"), euclidean)
        assert np.array_equal(found.points, points)


@pytest.mark.parametrize("content", [b"", b"PAR1 nothing", None])
def test_what_holds_no_vectors_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "vectors.parquet"
    if content is None:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"id": ["a"]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"vectors\.parquet: holds no vectors of a tree"):
        read_tree_vectors(path)


@pytest.mark.parametrize("all_nodes", [10, 100])
def test_a_fit_goes_on_where_it_was_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_nodes: int
) -> None:
    """To the bit, whether steps compare with all nodes or with some."""
    monkeypatch.setattr(embedding, "_ALL_NODES", all_nodes)
    monkeypatch.setattr(fit_checkpoint, "_SECONDS_BETWEEN", 0.0)
    taxonomy, path = complete(3, 4), tmp_path / "fit.checkpoint"
    whole = fit_tree_vectors(taxonomy, 3, epochs=8)
    write = FitCheckpoint.write

    def end_after_three(
        self: FitCheckpoint, epochs: int, state: dict[str, torch.Tensor], at_once: bool
    ) -> None:
        write(self, epochs, state, at_once)
        if epochs == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FitCheckpoint, "write", end_after_three)
        with pytest.raises(KeyboardInterrupt):
            fit_tree_vectors(taxonomy, 3, epochs=8, checkpoint=path)
    seen: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(
            FitCheckpoint, "write", lambda self, epochs, *more, **_: seen.append(epochs)
        )
        found = fit_tree_vectors(taxonomy, 3, epochs=8, checkpoint=path)
    assert seen == [4, 5, 6, 7, 8]
    assert np.array_equal(found.points, whole.points)
    # What is whole is not fitted again.
    monkeypatch.setattr(fit_checkpoint, "_SECONDS_BETWEEN", 1e9)
    fit_tree_vectors(taxonomy, 3, epochs=8, checkpoint=path)
    monkeypatch.setattr(embedding, "_steps", None)
    found = fit_tree_vectors(taxonomy, 3, epochs=8, checkpoint=path)
    assert np.array_equal(found.points, whole.points)


@pytest.mark.parametrize("content", ["other seed", b"", b"\x00" * 100, "not finite"])
def test_a_checkpoint_of_something_else_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes
) -> None:
    monkeypatch.setattr(fit_checkpoint, "_SECONDS_BETWEEN", 0.0)
    taxonomy, path = complete(3, 3), tmp_path / "fit.checkpoint"
    fit_tree_vectors(taxonomy, 3, epochs=2, seed=content == "other seed", checkpoint=path)
    if isinstance(content, bytes):
        path.write_bytes(content)
    if content == "not finite":
        tensors = load_file(path)
        tensors["points"][0, 0] = torch.nan
        with safe_open(path, "pt") as file:
            about = file.metadata()
        save_file(tensors, path, about)
    seen: list[int] = []
    monkeypatch.setattr(
        FitCheckpoint, "write", lambda self, epochs, *more, **_: seen.append(epochs)
    )
    found = fit_tree_vectors(taxonomy, 3, epochs=2, checkpoint=path)
    assert seen == [1, 2]
    assert np.array_equal(found.points, fit_tree_vectors(taxonomy, 3, epochs=2).points)
