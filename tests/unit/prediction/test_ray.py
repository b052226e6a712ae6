"""The batch job on Ray, on two cores of this machine."""

import contextlib
import csv
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import ROOT, read_jsonl, write_jsonl
from conftest import make_rows
from inference import answer, infer, save_model, start_infer, the_error
from jobs import assert_equal_rows, shard_rows

ray = pytest.importorskip("ray")


RAY = ("--engine", "ray", "--actors", "2")


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {0: "art", 1: "law", 2: "a.b"}
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"], id2label=names)


@pytest.fixture(scope="module")
def two_cores() -> Iterator[None]:
    """One Ray for the tests that need none of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def save_mixed(folder: Path) -> list[dict[str, Any]]:
    """The same kind of documents in three formats, with some that are odd."""
    rows = make_rows(30, seed=4)
    rows[3]["text"] = ""
    rows[4]["text"] = "这部电影很好。 Half \ud83d a pair.\r\nThe\x00 end."
    rows[11]["text"] = 'A, "quoted"\nline.'
    rows[20]["text"] = str(rows[20]["text"]) * 40
    folder.mkdir()
    write_jsonl(folder / "a.jsonl", rows[:10])
    with (folder / "b.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[10:20])
    columns = {name: [row[name] for row in rows[20:]] for name in ("id", "text")}
    pq.write_table(pa.table(columns), folder / "c.parquet", row_group_size=4)
    return rows


def test_answers_and_ids_are_those_of_the_local_job(model, two_cores, tmp_path) -> None:
    rows = save_mixed(tmp_path / "in")
    job = ("--input", tmp_path / "in", "--rows-per-shard", "4", "--output")
    assert infer(model, *job, tmp_path / "local") == infer(model, *job, tmp_path / "ray", *RAY) == 0
    found, expected = shard_rows(tmp_path / "ray"), shard_rows(tmp_path / "local")
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert_equal_rows(found, expected)
    names = [sorted(path.name for path in (tmp_path / n).iterdir()) for n in ("ray", "local")]
    assert names[0] == names[1] == ["manifest.json", *(f"part-0000{n}.jsonl" for n in range(8))]
    manifests = [json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("ray", "local")]
    for manifest in manifests:
        # Which rounding decides.
        assert all(part.pop("bytes") for part in manifest["parts"])
        del manifest["sessions"], manifest["unit_size"]
    assert manifests[0] == manifests[1]
    assert manifests[0]["complete"] and manifests[0]["rows_done"] == 30
    assert ray.is_initialized()


@pytest.mark.slow
def test_formats_and_tasks_are_those_of_the_local_job(model, two_cores, tmp_path) -> None:
    rows = save_mixed(tmp_path / "in")
    local = answer(model, [tmp_path / "in"], tmp_path / "local.jsonl")
    more = ("--task", "all", "--max-sentences", "1", "--input", tmp_path / "in")
    # Without an ending it is a folder, of shards of ten thousand rows.
    kind = ("--output-format", "parquet")
    assert infer(model, *RAY, *more, *kind, "--output", tmp_path / "out") == 0
    assert infer(model, *RAY, *more, "--output", tmp_path / "out.parquet") == 0
    (shard,) = (tmp_path / "out").glob("part-*.parquet")
    for path in (shard, tmp_path / "out.parquet"):
        table = pq.read_table(path).to_pylist()
        assert [row["id"] for row in table] == [row["id"] for row in rows]
        assert [row["label"] for row in table] == [row["label"] for row in local]
        assert {len(row["document_vector"]) for row in table} == {32}
        assert all(len(row["sentences"]) == 1 for row in table if row["id"] != "d3")


@pytest.mark.slow
def test_mistakes_are_those_of_the_local_job_and_nothing_is_written(
    model, two_cores, tmp_path, capsys
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    job = ("--input", folder, "--rows-per-shard", "4", "--output", tmp_path / "out")

    def told(*more: str) -> str:
        capsys.readouterr()
        assert infer(model, *job, *more) == 2
        return the_error(capsys)

    write_jsonl(folder / "a.jsonl", make_rows(3))
    write_jsonl(folder / "b.jsonl", [*make_rows(5)[3:], {"text": 5, "id": "x"}])
    (folder / "c.jsonl").write_text("{", encoding="utf-8")
    assert told(*RAY) == told()
    write_jsonl(folder / "b.jsonl", [*make_rows(5)[3:], {"text": "", "id": "d1"}])
    (folder / "c.jsonl").unlink()
    assert told(*RAY) == told()
    assert not (tmp_path / "out").exists()
    assert "--actors 3 need 3 CPUs, and Ray has 2" in told("--engine", "ray", "--actors", "3")
    assert "need 1 GPUs, and Ray has 0" in told("--engine", "ray", "--gpus-per-actor", "1")
    # What an actor alone meets: nothing was answered, so nothing stays.
    (folder / "b.jsonl").unlink()
    assert "device 'cuda:7' cannot be used" in told(*RAY, "--device", "cuda:7")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_skips_what_the_local_job_skips(model, two_cores, tmp_path, capsys) -> None:
    rows = save_mixed(tmp_path / "in")
    with (tmp_path / "in/a.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "x1", "text": 5}\n{"id": "x2"\n{"id": "x3", "text": "fine"}\n')
    # Of the second file, whose ids have been read before.
    write_jsonl(tmp_path / "in/d.jsonl", [{"id": "d2", "text": "x"}, {"id": "y", "text": "y"}])
    job = ("--input", tmp_path / "in", "--on-error", "skip", "--rows-per-shard", "7", "--output")
    assert infer(model, *job, tmp_path / "local") == 3
    capsys.readouterr()
    assert infer(model, *job, tmp_path / "ray", *RAY) == 3
    *_, last = capsys.readouterr().err.splitlines()
    see = tmp_path / "ray/errors.jsonl"
    assert last == f"32 documents -> {tmp_path / 'ray'}; 3 rows could not be answered (see {see})"
    assert_equal_rows(shard_rows(tmp_path / "ray"), shard_rows(tmp_path / "local"))
    assert len(shard_rows(tmp_path / "ray")) == len(rows) + 2
    errors = read_jsonl(tmp_path / "ray/errors.jsonl")
    locally = read_jsonl(tmp_path / "local/errors.jsonl")
    # Only Ray, which looks at all ids before it begins, knows where the first one was.
    first = f"first in {tmp_path / 'in/a.jsonl'}, line 3;"
    assert first in errors[2]["reason"]
    errors[2]["reason"] = errors[2]["reason"].replace(first, "first in a row before it;")
    assert errors == locally
    assert [error["row"] for error in errors] == [11, 12, 34]


def wait_for_units(job: "subprocess.Popen[bytes]", folder: Path, count: int) -> int:
    """How many units are done, once there are so many."""
    while len(done := list((folder / ".unfinished").glob("units-*/unit-*"))) < count:
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.01)
    return len(done)


def long_rows() -> list[dict[str, Any]]:
    """Documents that take a while, and among them one that takes as long as twenty others."""
    rows = [{"id": row["id"], "text": str(row["text"]) * 20} for row in make_rows(200, seed=9)]
    rows[7]["text"] = str(rows[7]["text"]) * 20
    return rows


def start(model: Path, docs: Path, output: Path, *more: str) -> "subprocess.Popen[bytes]":
    """The job in a process of its own, with a Ray of its own where it is on Ray."""
    arguments = ("--input", docs, "--output", output, "--rows-per-shard", "5", "--resume", *more)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    return start_infer(model, *arguments, small=True, **options)


def kill(job: "subprocess.Popen[bytes]") -> None:
    below = psutil.Process(job.pid).children(recursive=True)
    job.kill()
    job.communicate()
    # What Ray has started ends by itself.
    psutil.wait_procs(below)


def actors_of(job: "subprocess.Popen[bytes]") -> Iterator[psutil.Process]:
    for one in psutil.Process(job.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "UnitAnswerer" in " ".join(one.cmdline()):
                yield one


@pytest.mark.slow
def test_killed_jobs_of_either_engine_go_on_on_the_other_and_lose_and_double_no_row(
    model, tmp_path
) -> None:
    rows = long_rows()
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    expected = answer(model, docs, tmp_path / "local.jsonl")
    output = tmp_path / "out"
    done = 0
    for more in ((), RAY, ()):
        job = start(model, docs, output, *more)
        done = wait_for_units(job, output, done + 3)
        kill(job)
        manifest = json.loads((output / "manifest.json").read_text())
        assert not manifest["complete"]
    # A shard that the manifest did not name yet when the process was killed is made again.
    paths = [output / part["file"] for part in manifest["parts"]]
    kept = {path: path.stat().st_ino for path in paths}
    done = wait_for_units(job, output, 0)
    assert 9 <= done < 100

    job = start(model, docs, output, *RAY)
    wait_for_units(job, output, done + 3)
    next(actors_of(job)).kill()
    printed = job.communicate()[0].decode()
    assert job.returncode == 0, printed
    assert "resuming after" in printed and "200 documents (" in printed
    assert_equal_rows(shard_rows(output), expected)
    assert {path: path.stat().st_ino for path in kept} == kept
    assert not (output / ".unfinished").exists()

    job = start(model, docs, output, *RAY)
    assert "is complete" in job.communicate()[0].decode() and job.returncode == 0
