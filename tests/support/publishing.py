"""What the tests of publishing share: processes that are strangers to this one, and a tiny model.

The clients read HF_ENDPOINT when they are imported, so they run in processes of their own, each
answering many requests to save the seconds of its imports.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import ROOT, entry_point
from local_hub import LocalHub

FIRST_FORMAT = ROOT / "tests" / "fixtures" / "first_format"
TOKEN = "hf_aliceSecretToken0123456789"
USERS = {TOKEN: "alice", "hf_bobSecretToken9876543210": "bob"}

_LOOP = """
import contextlib, io, json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
for line in sys.stdin:
    asked = json.loads(line)
    for name, value in asked["environment"].items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    out, err, found = io.StringIO(), io.StringIO(), dict(asked["variables"])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exec(asked["code"], found)
            failure = None
        except BaseException:
            failure = traceback.format_exc()
    answer = [found.get("result"), out.getvalue(), err.getvalue(), failure]
    print(json.dumps(answer), file=answers, flush=True)
"""
NO_HIERBERT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hierbert":
            raise ImportError("hierbert is not installed here")
sys.meta_path.insert(0, Blocked())
"""


@dataclass(frozen=True)
class Done:
    """What a piece of code came to."""

    result: Any
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The only error line, which is the last."""
        assert self.result == 2, self
        *before, last = self.stderr.splitlines()
        assert last.startswith("error: ") and not [x for x in before if x.startswith("error")]
        assert "Traceback" not in self.stderr + self.stdout
        return last.removeprefix("error: ")


class Worker:
    """A process that runs pieces of code, with its own home and Hub; use it as a context.

    Args:
        home: An empty folder; it is the process' working directory too.
        hub: Where its clients go.
        hierbert: Whether it has hierbert, or must do without.
        environment: Further variables.
    """

    def __init__(self, home: Path, hub: LocalHub, hierbert: bool, **environment: str) -> None:
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_TOKEN")}
        env |= {"OMP_NUM_THREADS": "1", **hub.environment(None, home / "hf"), **environment}
        if hierbert:
            env["PYTHONPATH"] = str(ROOT)
        code = _LOOP if hierbert else NO_HIERBERT + _LOOP
        self.hub = hub
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=home,
            env=env,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def run(
        self, code: str, environment: dict[str, str | None] | None = None, **variables: Any
    ) -> Done:
        """Run code that may set `result`; it must not fail."""
        assert self.process.stdin is not None and self.process.stdout is not None
        asked = {"code": code, "environment": environment or {}, "variables": variables}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        result, stdout, stderr, failure = json.loads(self.process.stdout.readline())
        assert failure is None, failure + stderr[-2000:]
        return Done(result, stdout, stderr)

    def push(self, *arguments: str | Path, token: str | None = TOKEN) -> Done:
        """The publishing command, as it is installed."""
        module, name = entry_point("hierbert-push")
        argv = ["hierbert-push", *map(str, arguments)]
        return self.run(
            "import importlib, sys\nsys.argv = argv\n"
            "result = getattr(importlib.import_module(module), name)()",
            {"HF_TOKEN": token},
            argv=argv,
            module=module,
            name=name,
        )
