"""A cache that others can write to: damage is found, and what is not the cache's is left alone."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, succeed
from small_runs import Settings, at_step, content_of, outcome, results_of, small_run

FROZEN = ["training.freeze_encoder=true", "data.summary_column=summary"]


@pytest.fixture
def settings(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    """Arguments of a run that keeps vectors and the labels of sentences in `tmp_path / cache`."""
    small = small_run(tmp_path, encoders["bert"])
    return lambda *more: small(*FROZEN, f"training.cache_dir={tmp_path / 'cache'}", *more)


def without_vectors(settings: Settings, folder: Path) -> dict[str, Any]:
    """How a run ends whose vectors are not kept but encoded in the company of each batch."""
    full = ["training.cache_limit_gib=0.0000001", f"training.cache_dir={folder / 'full'}"]
    succeed("train.py", *settings(*full, f"run_dir={folder / 'unkept'}"), here=True)
    return outcome(folder / "unkept")


def of_steps(found: dict[str, Any]) -> tuple[dict[str, bytes], str]:
    """The weights that steps have trained, to the bit, and their metrics.

    What is fitted to vectors afterwards differs in the last bit, as vectors do in other company.
    """
    fitted = ("classifier.linear.", "classifier.bias", "summarizer.stack.")
    weights = {name: own for name, own in found["weights"].items() if not name.startswith(fitted)}
    return weights, found["metrics"]


def labels_of(cache: Path) -> list[Path]:
    return sorted(cache.glob("sentence-labels-*.json"))


def first_number(change: Callable[[float], float]) -> Callable[[Path], None]:
    """Change one label in what a file of them holds."""

    def changed(value: Any) -> Any:
        if isinstance(value, float):
            return change(value)
        keys = range(len(value)) if isinstance(value, list) else value
        for key in keys if isinstance(value, (list, dict)) else ():
            new = changed(value[key])
            if new is not None:
                value[key] = new
                return value
        return None

    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        path.write_text(json.dumps(changed(content)))

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "9.0": first_number(lambda _: 9.0),
    "NaN": first_number(lambda _: float("nan")),
    "within what is allowed": first_number(lambda label: 1.0 - label),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "nested": lambda path: path.write_text("[" * 200_000),
    "no text": lambda path: path.write_bytes(b"\xff\xfe" + path.read_bytes()),
    "a list": lambda path: path.write_text("[]"),
    "of other documents": lambda path: path.write_bytes(
        next(p for p in labels_of(path.parent) if p != path).read_bytes()
    ),
}


@pytest.mark.slow
def test_labels_that_were_changed_in_the_cache_are_computed_anew(settings, tmp_path) -> None:
    succeed("train.py", *settings(), here=True)
    right, kept = outcome(tmp_path / "run"), content_of(tmp_path / "cache")
    files = labels_of(tmp_path / "cache")
    assert len(files) == 3, "of training, validation and test"
    for number, (name, damage) in enumerate(DAMAGES.items()):
        path = files[number % 3]
        damage(path)
        assert path.read_bytes() != kept[path][0], name
        done = succeed("train.py", *settings(f"run_dir={tmp_path / str(number)}"), here=True)
        assert f"{path} is damaged" in done.stderr, name
        assert outcome(tmp_path / str(number)) == right, name
        assert path.read_bytes() == kept[path][0], name
    done = succeed("train.py", *settings(f"run_dir={tmp_path / 'last'}"), here=True)
    assert "damaged" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_while_a_run_reads_it_costs_time_alone(settings, tmp_path, part) -> None:
    def cut() -> None:
        (path,) = (tmp_path / "cache").rglob("*.safetensors")
        os.truncate(path, int(part * path.stat().st_size))

    with at_step(2, cut):
        done = succeed("train.py", *settings(), here=True)
    assert "is damaged (it is cut short)" in done.stderr
    succeed("train.py", *settings(f"run_dir={tmp_path / 'other'}"), here=True)
    ends = [results_of(tmp_path / name)["scores"] for name in ("run", "other")]
    assert ends[0] == pytest.approx(ends[1], rel=1e-2)


SCRIPT = """
import sys
from hierbert import HierBert
model = HierBert.from_pretrained(sys.argv[1], vector_cache=sys.argv[2], device="cpu")
for _ in range(2):
    answers = model.classify(["The plot.", "A word."])
"""


@pytest.mark.slow
def test_a_program_that_reads_the_cache_ends_quietly(models, tmp_path) -> None:
    command = [sys.executable, "-c", SCRIPT, models["both"], tmp_path / "cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "Exception" not in done.stderr


def put_pipe(place: Path, other: Path) -> None:
    place.unlink(missing_ok=True)
    os.mkfifo(place)


def put_link(place: Path, other: Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(other)


@pytest.mark.slow
@pytest.mark.parametrize("put", [put_pipe, put_link], ids=["pipe", "link"])
def test_links_and_pipes_in_the_cache_are_passed_over(settings, tmp_path, put) -> None:
    cache = tmp_path / "cache"
    succeed("train.py", *settings(), here=True)
    other = tmp_path / "others.safetensors"
    other.write_bytes(b"somebody else's model")
    files = [path for path in cache.rglob("*") if path.is_file()]
    for path in files:
        put(path, other)
    done = succeed("train.py", *settings(f"run_dir={tmp_path / 'second'}"), here=True)
    assert "passed over" in done.stderr
    assert of_steps(outcome(tmp_path / "second")) == of_steps(without_vectors(settings, tmp_path))
    assert other.read_bytes() == b"somebody else's model"
    for path in files:
        mode = path.lstat().st_mode
        assert stat.S_ISFIFO(mode) if put == put_pipe else stat.S_ISLNK(mode)


def test_a_linked_folder_of_vectors_is_neither_read_nor_cleared(settings, tmp_path) -> None:
    cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    succeed("train.py", *settings(), here=True)
    (folder,) = cache.glob("vectors-*")
    (file,) = folder.iterdir()
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    # Named as those of a cache, and no vectors: within the cache it would be removed as damaged.
    (elsewhere / file.name).write_bytes(b"weights of somebody's")
    (elsewhere / "model.safetensors").write_bytes(b"others")
    kept = content_of(elsewhere)
    limit = "training.cache_limit_gib=0.00001"
    done = succeed("train.py", *settings(limit, f"run_dir={tmp_path / 'second'}"), here=True)
    assert f"{folder} is no folder, but a link" in done.stderr
    assert outcome(tmp_path / "second") == without_vectors(settings, tmp_path)
    assert content_of(elsewhere) == kept and folder.is_symlink()


def test_a_full_cache_removes_nothing_that_it_did_not_write(settings, tmp_path) -> None:
    cache = tmp_path / "cache"
    own = f"vectors-{24 * 'a'}-float32"
    others = {
        cache / "vectors-mine" / f"{24 * '1'}.safetensors": b"a folder of another name",
        cache / own / "model.safetensors": b"a file of another name",
        cache / own / ".model.safetensors.tmp": b"one that is being written",
        cache / own / f"{24 * '2'}.safetensors.bak": b"a copy",
        cache / f"{24 * '3'}.safetensors": b"beside the folders",
        cache / own / f"{24 * '4'}.safetensors" / "inner": b"in a folder of such a name",
    }
    for path, content in others.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1e9, 1e9))
    its_own = cache / own / f"{24 * '5'}.safetensors"
    its_own.write_bytes(bytes(1000))
    os.utime(its_own, (1e9, 1e9))
    succeed("train.py", *settings("training.cache_limit_gib=0.0000001"), here=True)
    assert {path: path.read_bytes() for path in others} == others
    assert not its_own.exists(), "what is the cache's own goes"
