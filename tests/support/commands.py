"""Runs the command lines as a user does: as processes, with files."""

import argparse
import contextlib
import functools
import io
import json
import os
import runpy
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[2]


def run(
    *arguments: str | Path,
    processes: int = 1,
    stdin: str | bytes | io.RawIOBase | None = None,
    here: bool = False,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run ``train.py`` or ``infer.py`` (the first argument) and keep what it prints.

    Args:
        arguments: The script, from the root of the repository, and its arguments; in this process
            also an installed command.
        processes: More than one are started by torchrun.
        stdin: What the command reads from its standard input; a stream in this process alone.
        here: Run the script in this process, which saves the start of an interpreter.
        environment: Variables set for the command.
    """
    script, *rest = map(str, arguments)
    if here:
        return _run_here(script, rest, stdin, environment)
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        launch += ["--master_port", "0", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **environment}
    assert not isinstance(stdin, io.RawIOBase), "only a command of this process reads a stream"
    data = stdin.encode("utf-8") if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*launch, str(ROOT / script), *rest], input=data, capture_output=True, env=env, check=False
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )


def _run_here(
    script: str,
    arguments: list[str],
    stdin: str | bytes | io.RawIOBase | None,
    environment: dict[str, str],
) -> subprocess.CompletedProcess[str]:
    """The script as ``__main__`` of this process, with streams and arguments of its own."""
    data = stdin.encode("utf-8") if isinstance(stdin, str) else stdin or b""
    raw = io.BufferedReader(data if isinstance(data, io.RawIOBase) else io.BytesIO(data))
    out, err = io.BytesIO(), io.BytesIO()
    streams = {
        "stdin": io.TextIOWrapper(raw, encoding="utf-8"),
        "stdout": io.TextIOWrapper(out, encoding="utf-8", write_through=True),
        "stderr": io.TextIOWrapper(err, encoding="utf-8", write_through=True),
    }
    env = {"ACCELERATE_USE_CPU": "true", **environment}
    code: Any = 0
    with contextlib.ExitStack() as stack:
        # A process of its own would know of no run before; nor shall one after know of this.
        _forget_accelerator()
        stack.callback(_forget_accelerator)
        stack.enter_context(mock.patch.dict(os.environ, env))
        stack.enter_context(mock.patch.object(sys, "argv", [script, *arguments]))
        for name, stream in streams.items():
            stack.enter_context(mock.patch.object(sys, name, stream))
        try:
            if script.endswith(".py"):
                runpy.run_path(str(ROOT / script), run_name="__main__")
            else:
                sys.exit(installed(script)())
        except SystemExit as stop:
            code = stop.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
        except BaseException:  # As Python itself ends a script.
            traceback.print_exc()
            code = 1
    texts = [stream.getvalue().decode("utf-8") for stream in (out, err)]
    code = code if isinstance(code, int) else int(code is not None)
    return subprocess.CompletedProcess([script, *arguments], code, *texts)


def _forget_accelerator() -> None:
    """Drop the precision and the device that accelerate keeps for the life of a process."""
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(True)


def entry_point(command: str) -> tuple[str, str]:
    """Where an installed command such as ``hierbert-push`` begins: a module, and a name in it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, name = project["scripts"][command].split(":")
    return module, name


def installed(command: str) -> Callable[[], int]:
    """What an installed command calls."""
    module, name = entry_point(command)
    return getattr(import_module(module), name)


@functools.cache
def parser(command: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    parsers: list[argparse.ArgumentParser] = []
    parse = argparse.ArgumentParser.parse_known_args

    def record(self: argparse.ArgumentParser, *given: Any, **more: Any) -> Any:
        parsers.append(self)
        return parse(self, *given, **more)

    with mock.patch.object(argparse.ArgumentParser, "parse_known_args", record):
        succeed(command, "--help", here=True)
    return parsers[-1]


def flags(command: str) -> dict[str, argparse.Action]:
    """The flags of a command, each with what its parser knows of it."""
    return {flag: action for action in parser(command)._actions for flag in action.option_strings}


def succeed(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    done = run(*arguments, **options)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return done


def refuse(*arguments: str | Path, **options: Any) -> str:
    """Run a command that must refuse its input: exit code 2 and one line, which is returned."""
    done = run(*arguments, **options)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, (done.returncode, done.stderr[-3000:])
    assert "Traceback" not in done.stderr
    assert len(errors) == 1 and done.stderr.rstrip().endswith(errors[0]), done.stderr
    return errors[0]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """JSON lines as rows."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
