"""The batch job on Ray Data, on a Ray of two cores on this machine."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import ROOT, read_jsonl, write_jsonl
from conftest import make_rows
from inference import answer, save_model, the_error
from parts import assert_equal_rows

ray = pytest.importorskip("ray")

from hierbert.cli.infer import main  # noqa: E402
from hierbert.errors import ConfigError, DataError, RunError  # noqa: E402
from hierbert.prediction.on_ray.engine import Cluster, run_on_ray  # noqa: E402

TWO = Cluster(actors=2)


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


def parts_of(folder: Path) -> list[dict[str, Any]]:
    """All rows, in the order of the parts' names."""
    return [row for path in sorted(folder.glob("part-*.jsonl")) for row in read_jsonl(path)]


def test_answers_and_ids_are_those_of_the_local_job_in_every_format(
    model, two_cores, tmp_path
) -> None:
    rows = save_mixed(tmp_path / "in")
    local = answer(model, [tmp_path / "in"], tmp_path / "local.jsonl")
    assert [row["id"] for row in local] == [row["id"] for row in rows]
    report = run_on_ray(
        str(model), [str(tmp_path / "in")], str(tmp_path / "out"), cluster=TWO, rows_per_part=4
    )
    assert (report.answers, report.errors, report.rows_before) == (30, 0, 0)
    # Three files of ten rows, four rows a part.
    assert report.parts == 9
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    parts = [f"part-0000{number}.jsonl" for number in range(9)]
    assert found == ["manifest.json", *parts]
    assert_equal_rows(parts_of(tmp_path / "out"), local)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text(encoding="utf-8"))
    assert manifest["complete"] and manifest["rows_done"] == manifest["answers"] == 30
    assert [source["rows"] for source in manifest["sources"]] == [10, 10, 10]
    assert ray.is_initialized()


@pytest.mark.slow
def test_parts_are_parquet_where_asked_for(model, two_cores, tmp_path) -> None:
    rows = save_mixed(tmp_path / "in")
    local = answer(model, [tmp_path / "in"], tmp_path / "local.jsonl")
    run_on_ray(
        str(model),
        [str(tmp_path / "in")],
        str(tmp_path / "out"),
        cluster=TWO,
        output_format="parquet",
        tasks="all",
        budget={"max_sentences": 1},
    )
    table = pq.read_table(sorted((tmp_path / "out").glob("part-*.parquet"))).to_pylist()
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
    write_jsonl(folder / "a.jsonl", make_rows(3))
    write_jsonl(folder / "b.jsonl", [*make_rows(5)[3:], {"text": 5, "id": "x"}])
    (folder / "c.jsonl").write_text("{", encoding="utf-8")
    arguments = ["--model", model, "--input", folder, "--output", tmp_path / "local.jsonl"]
    assert main([str(argument) for argument in arguments]) == 2
    expected = the_error(capsys)
    with pytest.raises(DataError) as caught:
        run_on_ray(str(model), [str(folder)], str(tmp_path / "out"), cluster=TWO)
    assert str(caught.value) == expected
    write_jsonl(folder / "b.jsonl", [*make_rows(5)[3:], {"text": "", "id": "d1"}])
    (folder / "c.jsonl").unlink()
    assert main([str(argument) for argument in arguments]) == 2
    expected = the_error(capsys)
    with pytest.raises(DataError) as caught:
        run_on_ray(str(model), [str(folder)], str(tmp_path / "out"), cluster=TWO)
    assert str(caught.value) == expected
    assert not list(tmp_path.glob("out/*"))


def test_more_actors_than_cores_and_a_wrong_dtype_are_told(model, two_cores, tmp_path) -> None:
    docs = str(write_jsonl(tmp_path / "docs.jsonl", make_rows(3)))
    with pytest.raises(RunError, match="--actors 3 need 3 CPUs, and Ray has 2; lower --actors"):
        run_on_ray(str(model), [docs], str(tmp_path / "out"), cluster=Cluster(actors=3))
    with pytest.raises(RunError, match="--actors 1 need 1 GPUs, and Ray has 0"):
        cluster = Cluster(gpus_per_actor=1)
        run_on_ray(str(model), [docs], str(tmp_path / "out"), cluster=cluster)
    with pytest.raises(ConfigError, match="dtype 'float8' is not allowed"):
        run_on_ray(str(model), [docs], str(tmp_path / "out"), options={"dtype": "float8"})


@pytest.mark.slow
def test_the_command_skips_what_the_local_job_skips(model, two_cores, tmp_path, capsys) -> None:
    rows = save_mixed(tmp_path / "in")
    with (tmp_path / "in/a.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "x1", "text": 5}\n{"id": "x2"\n{"id": "x3", "text": "fine"}\n')
    # Of the second file, whose ids have been read before.
    write_jsonl(tmp_path / "in/d.jsonl", [{"id": "d2", "text": "x"}, {"id": "y", "text": "y"}])
    command = ["--model", model, "--input", tmp_path / "in", "--on-error", "skip"]
    job = [*command, "--rows-per-shard", 7, "--output"]
    assert main([str(argument) for argument in [*job, tmp_path / "local"]]) == 3
    more = ["--engine", "ray", "--actors", 2]
    capsys.readouterr()
    assert main([str(argument) for argument in [*job, tmp_path / "ray", *more]]) == 3
    *_, last = capsys.readouterr().err.splitlines()
    see = tmp_path / "ray/errors.jsonl"
    assert last == f"32 documents -> {tmp_path / 'ray'}; 3 rows could not be answered (see {see})"
    assert_equal_rows(parts_of(tmp_path / "ray"), parts_of(tmp_path / "local"))
    assert len(parts_of(tmp_path / "ray")) == len(rows) + 2
    errors = read_jsonl(tmp_path / "ray/errors.jsonl")
    locally = read_jsonl(tmp_path / "local/errors.jsonl")
    # Only Ray, which looks at all ids before it begins, knows where the first one was.
    first = f"first in {tmp_path / 'in/a.jsonl'}, line 3;"
    assert first in errors[2]["reason"]
    errors[2]["reason"] = errors[2]["reason"].replace(first, "first in a row before it;")
    assert errors == locally
    assert [error["row"] for error in errors] == [11, 12, 34]
    manifests = [
        json.loads((tmp_path / name / "manifest.json").read_text(encoding="utf-8"))
        for name in ("local", "ray")
    ]
    for name in ("complete", "rows_done", "answers", "errors"):
        assert manifests[0][name] == manifests[1][name]


SCRIPT = """
import sys
from hierbert.cli.common import run_command
from hierbert.prediction.on_ray.engine import Cluster, run_on_ray

model, docs, output, resume = sys.argv[1:]
sys.exit(run_command(lambda _: print(run_on_ray(
    model, [docs], output, cluster=Cluster(actors=2), rows_per_part=5, resume=resume == "resume",
))))
"""


def start(model: Path, docs: Path, output: Path, how: str = "new") -> "subprocess.Popen[str]":
    """The job in a process of its own, with a Ray of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(model), str(docs), str(output), how],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_parts(job: "subprocess.Popen[str]", output: Path, count: int) -> list[str]:
    """The parts that are done once there are so many."""
    while len(done := list((output / ".unfinished").glob("done-*.json"))) < count:
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.01)
    return [path.name for path in done]


def descendants(pid: int) -> dict[int, str]:
    """Processes below one, with their command lines."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8")
            parents[int(entry.name)] = (int(fields[1]), command)
    found: dict[int, str] = {}
    wave = {pid}
    while wave:
        wave = {child for child, (parent, _) in parents.items() if parent in wave}
        found |= {child: parents[child][1] for child in wave}
    return found


def wait_until_gone(pids: list[int]) -> None:
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.05)


def long_rows() -> list[dict[str, Any]]:
    """Documents that take a while, and among them one that takes as long as twenty others."""
    rows = [{"id": row["id"], "text": str(row["text"]) * 20} for row in make_rows(200, seed=9)]
    rows[7]["text"] = str(rows[7]["text"]) * 20
    return rows


@pytest.mark.slow
def test_a_killed_driver_and_killed_actors_lose_and_double_no_row(model, tmp_path) -> None:
    rows = long_rows()
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    local = answer(model, docs, tmp_path / "local.jsonl")
    output = tmp_path / "out"

    job = start(model, docs, output)
    wait_for_parts(job, output, 3)
    below = list(descendants(job.pid))
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    wait_until_gone(below)
    done = {path.name: path.stat().st_ino for path in output.glob("part-*.jsonl")}
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    assert not manifest["complete"]
    assert 3 <= len(done) < 40

    job = start(model, docs, output, "resume")
    before = len(list((output / ".unfinished").glob("done-*.json")))
    wait_for_parts(job, output, before + 3)
    actors = [pid for pid, name in descendants(job.pid).items() if "PartPredictor" in name]
    assert len(actors) == 2
    os.kill(actors[0], signal.SIGKILL)
    printed = job.communicate()[0]
    assert job.returncode == 0, printed
    assert f"resuming: {before} of 40 parts are done" in printed
    assert f"answers=200, errors=0, rows_before={5 * before}," in printed

    assert_equal_rows(parts_of(output), local)
    # What was done before was not done again.
    kept = {path.name: path.stat().st_ino for path in output.glob("part-*.jsonl")}
    assert sum(kept[name] == inode for name, inode in done.items()) >= before
    assert not (output / ".unfinished").exists()

    job = start(model, docs, output, "resume")
    assert "is complete, there is nothing to go on with" in job.communicate()[0]
    assert job.returncode == 2
