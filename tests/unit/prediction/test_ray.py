"""The batch job on Ray, on two cores of this machine."""

import contextlib
import csv
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

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


def save_mixed(folder: Path) -> None:
    """The same kind of documents in three formats, with some that are odd and some broken."""
    rows = make_rows(30, seed=4)
    rows[3]["text"] = ""
    rows[4]["text"] = "这部电影很好。 Half \ud83d a pair.\r\nThe\x00 end."
    rows[11]["text"] = 'A, "quoted"\nline.'
    rows[20]["text"] = str(rows[20]["text"]) * 40
    folder.mkdir()
    with write_jsonl(folder / "a.jsonl", rows[:10]).open("a") as file:
        file.write('{"id": "x1", "text": 5}\n{"id": "x2"\n{"id": "x3", "text": "fine"}\n')
    with (folder / "b.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[10:20])
    columns = {name: [row[name] for row in rows[20:]] for name in ("id", "text")}
    pq.write_table(pa.table(columns), folder / "c.parquet", row_group_size=4)
    # The first was read before, in the first file.
    write_jsonl(folder / "d.jsonl", [{"id": "d2", "text": "x"}, {"id": "y", "text": "y"}])


def test_answers_errors_and_ids_are_those_of_the_local_job(
    model, two_cores, tmp_path, capsys
) -> None:
    save_mixed(tmp_path / "in")
    job = ("--input", tmp_path / "in", "--on-error", "skip", "--rows-per-shard", "4", "--output")
    folders = tmp_path / "ray", tmp_path / "local"
    for folder, more in zip(folders, (RAY, ()), strict=True):
        capsys.readouterr()
        assert infer(model, *job, folder, *more) == 3
        last = capsys.readouterr().err.splitlines()[-1]
        see = f"3 rows could not be answered (see {folder / 'errors.jsonl'})"
        assert last == f"32 documents -> {folder}; {see}"
    found, expected = map(shard_rows, folders)
    ids = [*(f"d{n}" for n in range(10)), "x3", *(f"d{n}" for n in range(10, 30)), "y"]
    assert [row["id"] for row in found] == ids
    assert_equal_rows(found, expected)
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    parts = [f"part-0000{n}.jsonl" for n in range(9)]
    assert names[0] == names[1] == ["errors.jsonl", "manifest.json", *parts]
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    for manifest in manifests:
        # Which rounding decides.
        assert all(part.pop("bytes") and part.pop("sha256") for part in manifest["parts"])
        del manifest["sessions"], manifest["unit_size"], manifest["sha256"]
        # Here an id of another source is repeated, which the local job knows when it reads it.
        manifest["sources"][-1].pop("digest", None)
    assert manifests[0] == manifests[1]
    assert manifests[0]["complete"] and manifests[0]["rows_done"] == 35
    errors, locally = (read_jsonl(folder / "errors.jsonl") for folder in folders)
    assert errors == locally
    assert [error["row"] for error in errors] == [11, 12, 34]
    assert ray.is_initialized()


@pytest.mark.slow
def test_pages_are_those_of_the_local_job(model, two_cores, tmp_path) -> None:
    save_mixed(tmp_path / "in")
    job = ("--input", tmp_path / "in", "--on-error", "skip", "--rows-per-shard", "4")
    found = []
    for name, more in (("ray", RAY), ("local", ())):
        pages = tmp_path / f"{name}-pages"
        given = ("--output", tmp_path / name, "--html", pages, "--html-limit", "20")
        assert infer(model, *job, *given, *more) == 3
        page = {path.name: path.read_text() for path in pages.iterdir()}
        # Contributions are rounded otherwise in batches of other sizes.
        found.append({one: re.sub(r"[+−-]?\d+\.\d+", "", text) for one, text in page.items()})
    assert sorted(found[0]) == sorted(found[1])
    # 20 rows of the input, of which two are broken, and the index.
    assert len(found[0]) == 18 + 1 and found[0]["index.html"] == found[1]["index.html"]
    headings = [
        sorted(re.findall("<h1>.*?</h1>", text)[0] for text in own.values()) for own in found
    ]
    assert headings[0] == headings[1] and "20 of 35 rows" in found[0]["index.html"]


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
        assert not (tmp_path / "out").exists()
        return the_error(capsys)

    write_jsonl(folder / "a.jsonl", make_rows(3))
    write_jsonl(folder / "b.jsonl", [*make_rows(5)[3:], {"text": 5, "id": "x"}])
    (folder / "c.jsonl").write_text("{")
    assert told(*RAY) == told()
    write_jsonl(folder / "b.jsonl", [*make_rows(5)[3:], {"text": "", "id": "d1"}])
    (folder / "c.jsonl").unlink()
    assert told(*RAY) == told()
    assert "--actors 3 need 3 CPUs, and Ray has 2" in told("--engine", "ray", "--actors", "3")
    assert "need 1 GPUs, and Ray has 0" in told("--engine", "ray", "--gpus-per-actor", "1")
    # What an actor alone meets: nothing was answered, so nothing stays.
    (folder / "b.jsonl").unlink()
    assert "device 'cuda:7' cannot be used" in told(*RAY, "--device", "cuda:7")


def start(model: Path, docs: Path, output: Path, *more: str) -> "subprocess.Popen[bytes]":
    """The job in a process of its own, with a Ray of its own where it is on Ray."""
    arguments = ("--input", docs, "--output", output, "--rows-per-shard", "5", "--resume", *more)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    return start_infer(model, *arguments, small=True, **options)


def done_units(output: Path) -> int:
    return len(list((output / ".unfinished").glob("units-*/unit-*")))


def wait_for_units(job: "subprocess.Popen[bytes]", output: Path, count: int) -> None:
    """Wait until so many units are done, or the job has ended: it may be faster than this."""
    while done_units(output) < count and job.poll() is None:
        time.sleep(0.01)


def kill(job: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(job.pid).children(recursive=True)
        job.kill()
        # What Ray has started ends by itself.
        psutil.wait_procs(below)
    job.communicate()


def kill_an_actor(job: "subprocess.Popen[bytes]") -> None:
    """Kill one of those that are there yet."""
    with contextlib.suppress(psutil.Error):
        for one in psutil.Process(job.pid).children(recursive=True):
            if "UnitAnswerer" in " ".join(one.cmdline()):
                one.kill()
                return


@pytest.mark.slow
def test_killed_jobs_of_either_engine_go_on_on_the_other_and_lose_and_double_no_row(
    model, tmp_path
) -> None:
    # Documents that take a while, and among them one that takes as long as twenty others.
    rows = [{"id": row["id"], "text": str(row["text"]) * 20} for row in make_rows(200, seed=9)]
    rows[7]["text"] = str(rows[7]["text"]) * 20
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    expected = answer(model, docs, tmp_path / "local.jsonl")
    output = tmp_path / "out"
    for more in ((), RAY, ()):
        job = start(model, docs, output, *more)
        wait_for_units(job, output, done_units(output) + 3)
        kill(job)
    # A shard that the manifest did not name yet when the process was killed is made again.
    manifest = json.loads((output / "manifest.json").read_text())
    kept = {part["file"]: (output / part["file"]).stat().st_ino for part in manifest["parts"]}

    job = start(model, docs, output, *RAY)
    wait_for_units(job, output, done_units(output) + 3)
    kill_an_actor(job)
    printed = job.communicate()[0].decode()
    assert job.returncode == 0, printed
    assert_equal_rows(shard_rows(output), expected)
    assert {name: (output / name).stat().st_ino for name in kept} == kept
    assert not (output / ".unfinished").exists()

    job = start(model, docs, output, *RAY)
    assert "is complete" in job.communicate()[0].decode() and job.returncode == 0
