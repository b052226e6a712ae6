"""What is written for other programs to run or to compute: commands for a shell, csv for tables."""

import csv
import io
import re
import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows
from small_runs import signal_at_step, small_run

ODD = [
    "a;id",
    "$(id)",
    "two words",
    "it's",
    'a "b"',
    "`id`",
    "a&b|c",
    "~x",
    "*",
    "#x",
    "é\\n",
    "!x",
]


def words_of(line: str) -> list[str]:
    """What a shell makes of a line, when it is a list of words and nothing else."""
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    assert not done.stderr
    return done.stdout.decode().split("\0")[:-1]


def test_commands_of_training_are_words_to_a_shell(encoders, tmp_path) -> None:
    folder = tmp_path / " ".join(ODD)
    folder.mkdir()
    settings = small_run(folder, encoders["bert"])
    with signal_at_step(2, signal.SIGINT):
        done = run("train.py", *settings("training.epochs=1"), here=True)
    assert done.returncode == 130
    line = re.findall(r"go on with: (.*)$", done.stderr, re.MULTILINE)[-1]
    saved = folder / "run" / "config.resolved.yaml"
    assert words_of(line) == ["python", "train.py", "--config", str(saved), "--resume"]
    done = succeed("train.py", *words_of(line)[2:], here=True)
    *words, last, answers = words_of(done.stdout.strip().splitlines()[-1])
    model, test = str(folder / "run" / "model"), str(folder / "test.jsonl")
    assert words == ["python", "infer.py", "--model", model, "--input", test]
    assert [last, answers] == ["--output", "answers.jsonl"]


# Answers of csv.

IDS = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1+2", "-1+2", "\tx", "\rx", "\nx", "＝1", "-", "=", "+a"]
SAFE_IDS = ["x=1", " =1", "'=1", "-5", "+3.25", "-1e-5", ".5", "a@b", "", "[1]", '{"a": 1}']


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_is_as_written_and_made_safe_for_spreadsheets_on_demand(models, tmp_path) -> None:
    texts = [
        "=1+1 is the first sentence here.",
        "@SUM(1) is a sentence of five words.",
        "A plain one.",
    ]
    rows = [
        {"id": name, "text": texts[n % 3], "@own": f"@{n}", "number": -n}
        for n, name in enumerate([*IDS, *SAFE_IDS])
        if name
    ]
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    command = ["infer.py", "--model", models["both"], "--input", docs, "--max-sentences", "1"]
    command += ["--keep-columns", "number,@own"]

    def made(name: str, *more: str) -> str:
        done = succeed(*command, "--output", tmp_path / name, *more, here=True)
        path = tmp_path / name
        return path.read_bytes().decode() if path.is_file() else done.stderr

    plain = cells(made("plain.csv"))
    assert [row["id"] for row in plain] == [row["id"] for row in rows]
    safe = cells(made("safe.csv", "--csv-safe"))
    printed = succeed(*command, "--output", "-", "--output-format", "csv", "--csv-safe", here=True)
    assert cells(printed.stdout) == safe
    shards = ("--rows-per-shard", "100", "--output-format", "csv")
    made("shards", *shards, "--csv-safe")
    assert cells((tmp_path / "shards" / "part-00000.csv").read_bytes().decode()) == safe
    changed = 0
    for row, own in zip(plain, safe, strict=True):
        for (name, cell), (safe_name, safe_cell) in zip(row.items(), own.items(), strict=True):
            odd = cell in IDS or name == "@own" or (name == "summary" and cell[:1] in ("=", "@"))
            assert safe_cell == (f"'{cell}" if odd else cell)
            assert safe_name == ("'@own" if name == "@own" else name)
            changed += odd
    assert changed > len(IDS)
    # A job of one is not gone on with as one of the other.
    assert "--csv-safe" in refuse(
        *command, "--output", tmp_path / "shards", *shards, "--resume", here=True
    )
    for kind in ("jsonl", "parquet"):
        error = refuse(*command, "--output", tmp_path / f"o.{kind}", "--csv-safe", here=True)
        assert "--csv-safe" in error and kind in error


@pytest.mark.slow
def test_ray_of_this_machine_listens_on_loopback_alone(models, tmp_path) -> None:
    pytest.importorskip("ray")
    docs = write_jsonl(tmp_path / "docs.jsonl", make_rows(20))
    command = [sys.executable, ROOT / "infer.py", "--model", models["both"], "--input", docs]
    command += ["--output", tmp_path / "o.jsonl", "--engine", "ray"]
    seen: set[tuple[str, str]] = set()
    with psutil.Popen([str(word) for word in command], stderr=subprocess.DEVNULL) as process:
        code = None
        while code is None:
            seen |= listening(process)
            try:
                code = process.wait(timeout=0.2)
            except psutil.TimeoutExpired:
                continue
    assert code == 0 and len(read_jsonl(tmp_path / "o.jsonl")) == 20
    assert {"gcs_server", "raylet"} <= {name for name, _ in seen}
    for name, address in seen:
        assert address.removeprefix("::ffff:").startswith("127.") or address == "::1", (
            name,
            address,
        )


def listening(process: psutil.Process) -> set[tuple[str, str]]:
    """Names of a process and those below it, with the addresses that they listen on."""
    found: set[tuple[str, str]] = set()
    for one in [process, *process.children(recursive=True)]:
        try:
            ports: list[Any] = one.net_connections(kind="inet")
            found |= {(one.name(), port.laddr.ip) for port in ports if port.status == "LISTEN"}
        except psutil.Error:
            continue
    return found
