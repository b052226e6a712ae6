"""Work that goes on after one of its bytes has changed: what came of it, how often."""

import contextlib
import io
import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.rounds import say

# Float32 sums of another batch differ by this at most (docs/how-it-works.md).
_TOLERANCE = 1e-5
OUTCOMES = ("equal", "refused", "refused, then equal", "DIFFERENT", "TRACEBACK")
_BAD = OUTCOMES[3:]

Command = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Target:
    """What is damaged.

    Attributes:
        name: Of `--only`, and in the table.
        make: Fills a folder with work that is to go on; the number is a seed.
        files: Globs of what is damaged, each as often as the others.
        go_on: Lets the work of a folder go on; gives the exit code, and what was said.
        outcome: What came of it, which no damage may change.
    """

    name: str
    make: Callable[[Path, int], None]
    files: tuple[str, ...]
    go_on: Callable[[Path], tuple[int, str]]
    outcome: Callable[[Path], Any]


def run(command: Command, arguments: Sequence[str]) -> tuple[int, str]:
    """A command of this process: its exit code, 1 with a traceback, and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            code = command(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:
            code = 1
            said.write(traceback.format_exc())
    return code, said.getvalue()


def is_equal(found: Any, expected: Any) -> bool:
    """Whether outcomes are equal but for rounding."""
    if isinstance(found, float) and isinstance(expected, float):
        return found == expected or abs(found - expected) <= _TOLERANCE
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            is_equal(value, expected[name]) for name, value in found.items()
        )
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        same_length = len(found) == len(expected)
        return same_length and all(map(is_equal, found, expected))
    return type(found) is type(expected) and bool(found == expected)


def flip(folder: Path, files: Sequence[str], chance: random.Random) -> str:
    """Change one byte of one file of a folder; where it is, in words."""
    found: list[Path] = []
    while not found:
        found = sorted(
            path
            for path in folder.glob(chance.choice(files))
            if path.is_file() and path.stat().st_size
        )
    path = chance.choice(found)
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    before = content[place]
    content[place] = chance.choice([byte for byte in range(256) if byte != before])
    path.write_bytes(content)
    return f"{path.relative_to(folder)}, byte {place:,}: {before} to {content[place]}"


def damage(target: Target, flips: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Damage a target so often: how often each outcome came, and what was bad."""
    chance = random.Random(f"flips of {target.name} {seed}")
    begun, place = folder / "begun", folder / "place"
    # Where work is may be part of it: it is always at the same place.
    place.mkdir()
    target.make(place, seed)
    place.rename(begun)
    counts: Counter[str] = Counter()
    bad = []

    def lay() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(begun, place)

    lay()
    code, said = target.go_on(place)
    if code not in (0, 3):
        raise RuntimeError(f"{target.name} cannot go on: {said}")
    expected = target.outcome(place)
    for number in range(flips):
        lay()
        where = flip(place, target.files, chance)
        outcome, said = "refused", ""
        for attempt in ("equal", "refused, then equal"):
            code, said = target.go_on(place)
            if "Traceback" in said or code == 1:
                outcome = "TRACEBACK"
                break
            if code in (0, 3):
                same = is_equal(target.outcome(place), expected)
                outcome = attempt if same else "DIFFERENT"
                break
        counts[outcome] += 1
        if outcome in _BAD:
            bad.append(f"{target.name}: {where}: {outcome}: {said[-500:]}")
        say(f"{target.name}: {number + 1} of {flips}: {where}: {outcome}")
    return counts, bad
