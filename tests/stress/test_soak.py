"""The soak test itself: it kills all it started, and sees what is not equal."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file, save_file

from benchmarks import soak, soak_inference, soak_training
from benchmarks.common.kills import kill_all, kill_one
from benchmarks.soak_training import Kind, Soaked, differences, outcome

PARENT = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) for _ in "ab"]
print(*(child.pid for child in children), flush=True)
while all(child.poll() is None for child in children):
    time.sleep(0.01)
for child in children:
    child.kill()
    child.wait()
"""


def family() -> tuple[psutil.Popen, list[int]]:
    process = psutil.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    return process, [int(pid) for pid in process.stdout.readline().split()]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_process_is_killed_with_all_it_has_started() -> None:
    process, children = family()
    kill_all(process)
    assert process.returncode == -9 and all(map(is_gone, children))
    kill_all(process)  # of one that has ended, nothing


def test_one_of_several_is_killed_and_the_others_end_by_themselves() -> None:
    process, children = family()
    kill_one(process, 1, timeout_seconds=30)
    assert process.returncode == 0 and all(map(is_gone, children))


def run_folder(folder: Path) -> Path:
    """What a finished run leaves, as far as it is compared."""
    import torch

    (folder / "model").mkdir(parents=True)
    save_file({"weight": torch.ones(3)}, folder / "model" / "model.safetensors")
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    clock = {"seconds": time.time(), "resources": {}, "environment": {}}
    (folder / "results.json").write_text(json.dumps({"steps": 1, **clock}))
    return folder


def test_every_part_that_is_not_equal_is_named(tmp_path) -> None:
    expected = outcome(run_folder(tmp_path / "a"))
    other = run_folder(tmp_path / "b")
    assert differences(expected, outcome(other), "b") == []
    weights = load_file(other / "model" / "model.safetensors")
    weights["weight"][0] += 2**-23  # the last bit
    save_file(weights, other / "model" / "model.safetensors")
    (other / "metrics.jsonl").write_text('{"step": 1}\n{"step": 1}\n')
    assert differences(expected, outcome(other), "b") == ["b: weights", "b: metrics"]
    (other / "results.json").write_text(
        json.dumps({"steps": 2, "seconds": 0, "resources": 0, "environment": 0})
    )
    found = Soaked(Kind("k", 1, ()), differences=differences(expected, outcome(other), "b"))
    assert not soak_training._is_equal([found]) and not soak_training._is_equal([])
    (line,) = soak_training._lines([found])[2:]
    assert line.endswith("| differ | differ | differ |")


def test_the_command_refuses_and_reports(monkeypatch, tmp_path, capsys) -> None:
    assert soak.main(["--kills", "0"]) == 2
    assert "a whole number from 1 up" in capsys.readouterr().err
    said: list[Any] = []

    def half(
        folder: Path, kills: int, seed: int, say: Any
    ) -> tuple[list[str], dict[str, Any], bool]:
        said.append((folder.is_dir(), kills, seed))
        return ["a line"], {"kinds": []}, kills != 3

    monkeypatch.setitem(soak.HALVES, "training", half)
    output = ["--only", "training", "--output", str(tmp_path)]
    assert soak.main(["--kills", "4", "--seed", "5", *output]) == 0
    made = json.loads((tmp_path / "soak_training-quick.json").read_text())
    assert made["good"] and not made["full"] and "a line" in made["lines"]
    assert soak.main(["--kills", "3", *output]) == 1
    assert "**Something differed.**" in capsys.readouterr().out
    assert said == [(True, 4, 5), (True, 3, 0)]

    def failing(*_: Any) -> Any:
        raise soak_training.SoakError("run ended with 2")

    monkeypatch.setitem(soak.HALVES, "training", failing)
    assert soak.main(output) == 1 and "run ended with 2" in capsys.readouterr().err


def job_output(numbers: range, broken: set[int]) -> dict[str, list[dict[str, Any]]]:
    return {
        "answers": [
            {"id": f"d{n}", "probabilities": {"a": 0.25, "b": 0.75}} for n in numbers
            if n not in broken
        ],
        "errors": [{"row": n + 1, "reason": "broken"} for n in numbers if n in broken],
    }  # fmt: skip


def test_lost_doubled_and_wrong_rows_of_a_job_are_counted() -> None:
    numbers = range(soak_inference.ROWS)
    # By the other way of counting: the corpus is written, and its lines are read.
    broken = {n for n in numbers if (n + 1) % 97 == 0}
    whole = job_output(numbers, broken)

    def count(made: dict[str, list[dict[str, Any]]]) -> tuple[int, int, int]:
        found = soak_inference.Found()
        soak_inference.compare(made, whole, found)
        return found.lost, found.doubled, found.wrong

    assert count(whole) == (0, 0, 0)
    rounded = json.loads(json.dumps(whole))
    rounded["answers"][3]["probabilities"]["a"] += 5e-6
    assert count(rounded) == (0, 0, 0)
    rounded["answers"][3]["probabilities"]["a"] += 1e-3
    assert count(rounded) == (0, 0, 1)
    # The last row is gone, so that all others keep their places.
    assert count({**whole, "answers": whole["answers"][:-1]}) == (1, 0, 0)
    assert count({**whole, "answers": [*whole["answers"], whole["answers"][-1]]}) == (0, 1, 0)
    assert count({**whole, "errors": whole["errors"][:-1]}) == (1, 0, 1)
    swapped = [whole["answers"][1], whole["answers"][0], *whole["answers"][2:]]
    assert count({**whole, "answers": swapped}) == (0, 0, 2)
