"""The changing of bytes: it sees what differs, and what it changes is one byte of a copy."""

import json
import random
from pathlib import Path

import pytest

from benchmarks import flips
from benchmarks.common.flips import Target, damage, flip, is_equal
from benchmarks.flips import TARGETS, main


def test_one_byte_of_one_file_changes(tmp_path) -> None:
    chance = random.Random(1)
    for name in ("a", "b", "empty"):
        (tmp_path / name).write_bytes(b"" if name == "empty" else b"0123456789")
    for _ in range(50):
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        where = flip(tmp_path, ("a", "b*", "empty", "none"), chance)
        changed = [path for path, content in before.items() if path.read_bytes() != content]
        (path,) = changed
        assert where.startswith(f"{path.name}, byte ")
        pairs = zip(before[path], path.read_bytes(), strict=True)
        assert sum(one != other for one, other in pairs) == 1


def test_outcomes_are_equal_but_for_rounding() -> None:
    row = {"id": "a", "p": [0.5, {"x": 1}], "none": None}
    assert is_equal(row, {"id": "a", "p": [0.5 + 9e-6, {"x": 1}], "none": None})
    for other in ({**row, "id": "b"}, {**row, "p": [0.5 + 2e-5, {"x": 1}]}, {"id": "a"}, [row]):
        assert not is_equal(row, other)
    assert not is_equal([1], [True]) and not is_equal([row], [row, row])


def test_what_differs_and_what_ends_in_a_traceback_is_told(tmp_path, monkeypatch, capsys) -> None:
    """A work that trusts the first byte of its file, checks the second, and fails on the third."""

    def make(folder: Path, seed: int) -> None:
        (folder / "state").write_bytes(b"abc-")

    def go_on(folder: Path) -> tuple[int, str]:
        state = (folder / "state").read_bytes()
        if state[2:3] != b"c":
            return 1, "Traceback (most recent call last)"
        if state[1:2] != b"b":
            # What is damaged is put aside, so that the next time it is made again.
            (folder / "state").write_bytes(b"abc-")
            return 2, "error: damaged"
        return (0, "") if state[3:] == b"-" else (2, "error: damaged")

    target = Target("fake", make, ("state",), go_on, lambda folder: (folder / "state").read_bytes())
    (tmp_path / "fake").mkdir()
    counts, bad = damage(target, 80, 0, tmp_path / "fake")
    assert counts.total() == 80 and counts["equal"] == 0
    assert min(counts[name] for name in ("refused", "refused, then equal")) > 5
    assert len(bad) == counts["DIFFERENT"] + counts["TRACEBACK"] > 20 and min(counts.values()) > 5
    monkeypatch.setattr(flips, "TARGETS", [target])
    output = tmp_path / "flips.json"
    assert main(["--flips", "40", "--output", str(output)]) == 1
    assert json.loads(output.read_text())["good"] is False
    assert "**Something differed.**" in capsys.readouterr().out
    assert main(["--flips", "0"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_nothing_that_is_kept_differs_in_silence(target, tmp_path) -> None:
    counts, bad = damage(target, 4, 1, tmp_path)
    assert not bad and counts.total() == 4
