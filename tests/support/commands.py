"""Runs the command lines as a user does: as processes, with files."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[2]


def run(
    *arguments: str | Path,
    processes: int = 1,
    stdin: str | bytes | None = None,
    here: bool = False,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run ``train.py`` or ``infer.py`` (the first argument) and keep what it prints.

    Args:
        arguments: The script, from the root of the repository, and its arguments.
        processes: More than one are started by torchrun.
        stdin: What the command reads from its standard input.
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
    data = stdin.encode("utf-8") if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*launch, str(ROOT / script), *rest], input=data, capture_output=True, env=env, check=False
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )


def _run_here(
    script: str, arguments: list[str], stdin: str | bytes | None, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """The script as ``__main__`` of this process, with streams and arguments of its own."""
    data = stdin.encode("utf-8") if isinstance(stdin, str) else stdin or b""
    out, err = io.BytesIO(), io.BytesIO()
    streams = {
        "stdin": io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"),
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
            runpy.run_path(str(ROOT / script), run_name="__main__")
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
