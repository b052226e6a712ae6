"""The command that changes bytes of checkpoints and caches sees none that differs in silence."""

import json

import pytest

from benchmarks.flips_training import TARGETS, main


@pytest.mark.slow
def test_no_changed_byte_differs_in_silence(tmp_path) -> None:
    assert main(["--flips", "4", "--seed", "1", "--output", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())["damaged"]
    assert found.keys() == TARGETS.keys()
    for counts in found.values():
        assert counts.keys() <= {"equal", "refused"} and sum(counts.values()) == 4
