"""Who may read what a user gets is for the umask to say, of files and of folders."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import succeed
from small_runs import small_run

from hierbert import HierBert


@pytest.fixture(
    params=[0o022, 0o077, *(pytest.param(mask, marks=pytest.mark.slow) for mask in (0o002, 0o027))],
    ids=oct,
)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def others(folder: Path, umask: int) -> dict[str, str]:
    """What the umask did not decide."""
    wrong = {}
    for path in (folder, *folder.rglob("*")):
        found = stat.S_IMODE(path.stat().st_mode)
        if found != (0o777 if path.is_dir() else 0o666) & ~umask:
            wrong[str(path.relative_to(folder))] = oct(found)
    return wrong


def test_a_run_its_cache_and_its_answers(encoders, tmp_path, umask) -> None:
    given = small_run(tmp_path, encoders["bert"])
    cache = tmp_path / "cache"
    frozen = ["training.freeze_encoder=true", f"training.cache_dir={cache}"]
    succeed("train.py", *given(*frozen, "data.summary_column=summary"), here=True)
    assert (tmp_path / "run/model/model.safetensors").exists()
    assert list((tmp_path / "run/checkpoints").rglob("optimizer.safetensors"))
    assert list(cache.rglob("*.safetensors")) and list(cache.glob("*.json"))
    assert others(tmp_path / "run", umask) == {}
    assert others(cache, umask) == {}
    out = tmp_path / "out"
    out.mkdir()
    asked = ["--model", tmp_path / "run/model", "--input", tmp_path / "test.jsonl"]
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        succeed("infer.py", *asked, "--output", out / name, here=True)
    shards = ["--output", out / "shards", "--rows-per-shard", "2"]
    succeed("infer.py", *asked, *shards, "--cache-dir", out / "cache", here=True)
    assert others(out, umask) == {}


def test_a_model_that_is_saved_from_python(models, tmp_path, umask) -> None:
    HierBert.from_pretrained(models["both"]).save_pretrained(tmp_path / "model")
    assert (tmp_path / "model/model.safetensors").exists()
    assert others(tmp_path / "model", umask) == {}
