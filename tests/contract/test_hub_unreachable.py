"""A Hub that refuses, hangs or is slow: an error in seconds, the cache, or just the answer."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows
from local_hub import LocalHub
from publishing import TOKEN
from small_models import save_model
from small_runs import small_run

pytestmark = pytest.mark.slow


class Silent:
    """Takes connections and never answers; with `closes` it closes each at once."""

    def __init__(self, closes: bool) -> None:
        self.closes = closes
        self.connections: list[socket.socket] = []

    def __enter__(self) -> "Silent":
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._take, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _take(self) -> None:
        try:
            while True:
                connection, _ = self.socket.accept()
                self.connections.append(connection)
                if self.closes:
                    connection.close()
        except OSError:
            pass

    def environment(self, home: Path) -> dict[str, str]:
        found = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
        return {**found, "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture(params=[True, False], ids=["closes", "hangs"])
def silent(request: pytest.FixtureRequest) -> Iterator[Silent]:
    with Silent(request.param) as server:
        yield server


def test_what_only_the_hub_has_is_one_line_after_one_request(silent, encoders, tmp_path) -> None:
    rows = write_jsonl(tmp_path / "in.jsonl", make_rows(3))
    settings = small_run(tmp_path, encoders["bert"])
    output = ["--output", tmp_path / "out.jsonl"]
    for asked in (
        ["infer.py", "--model", "alice/absent", "--input", rows, *output],
        ["train.py", *settings("model.encoder=alice/absent")],
        ["train.py", *settings("data.train=hub://alice/absent")],
        ["train.py", *settings("model.encoder=", "model.start_from=alice/absent")],
    ):
        silent.connections.clear()
        error = refuse(*asked, **silent.environment(tmp_path / "home"))
        assert "alice/absent" in error and silent.url in error and "HF_HUB_ETAG_TIMEOUT" in error
        # The client alone would try six times for each file.
        assert len(silent.connections) == 1, asked


def test_what_is_in_the_cache_is_taken_from_there(silent, encoders, tmp_path) -> None:
    rows = write_jsonl(tmp_path / "in.jsonl", make_rows(3))
    home = tmp_path / "home"
    model, encoder = save_model(tmp_path / "m", encoders["bert"]), encoders["bert"]
    texts = "".join(f'{{"text": "the old plot {n}", "label": "{n % 2}"}}\n' for n in range(20))
    settings = small_run(tmp_path, encoders["bert"])
    of_hub = ["model.encoder=alice/encoder", "data.train=hub://alice/data", "training.epochs=1"]
    of_hub += ["data.validation=", "data.test=", "data.label_column=label"]
    asked = ["infer.py", "--model", "alice/model", "--input", rows, "--output"]
    with LocalHub({TOKEN: "alice"}) as hub:
        for name, folder in (("alice/model", model), ("alice/encoder", encoder)):
            hub.add(name, {path.name: path.read_bytes() for path in folder.iterdir()})
        hub.add("datasets/alice/data", {"train.jsonl": texts.encode()})
        environment = hub.environment(None, home)
        succeed(*asked, tmp_path / "online.jsonl", **environment)
        succeed("train.py", *settings(*of_hub, f"run_dir={tmp_path / 'r1'}"), **environment)
    environment = silent.environment(home)
    succeed(*asked, tmp_path / "cached.jsonl", **environment)
    succeed("train.py", *settings(*of_hub, f"run_dir={tmp_path / 'r2'}"), **environment)
    assert read_jsonl(tmp_path / "cached.jsonl") == read_jsonl(tmp_path / "online.jsonl")
    # One for each command.
    assert len(silent.connections) == 2


def test_a_push_is_refused_after_one_request(silent, trained, tmp_path) -> None:
    environment = {**os.environ, **silent.environment(tmp_path / "home"), "HF_TOKEN": TOKEN}
    command = [sys.executable, "-m", "hierbert", "push", str(trained), "--repo", "alice/new"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    error = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and silent.url in error and "the same command goes on" in error
    assert len(silent.connections) == 1


SCRIPT = """
import os, sys
from huggingface_hub import constants
before = dict(os.environ), dict(vars(constants))
from hierbert import HierBert, errors
try:
    HierBert.from_pretrained("alice/model")
    print("loaded")
except errors.ModelError as error:
    print(error)
assert (dict(os.environ), dict(vars(constants))) == before
"""


def test_a_slow_hub_that_answers_is_waited_for(encoders, tmp_path) -> None:
    def late(repository: str, revision: str, path: str) -> None:
        threading.Event().wait(5 if path == "config.json" else 0)

    model = save_model(tmp_path / "m", encoders["bert"])
    with LocalHub({TOKEN: "alice"}, on_resolve=late) as hub:
        hub.add("alice/model", {path.name: path.read_bytes() for path in model.iterdir()})
        environment = {**os.environ, **hub.environment(None, tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert done.stdout == "loaded\n", done.stderr[-2000:]


def test_offline_nothing_is_asked(silent, tmp_path) -> None:
    rows = write_jsonl(tmp_path / "in.jsonl", make_rows(3))
    environment = {**silent.environment(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    asked = ["--model", "alice/absent", "--input", rows, "--output", tmp_path / "out.jsonl"]
    done = run("infer.py", *asked, **environment)
    assert done.returncode == 2 and "alice/absent" in done.stderr and not silent.connections
