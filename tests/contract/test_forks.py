"""Predictors answer in forked processes, as of `gunicorn --preload`, Celery and multiprocessing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT
from small_models import save_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

SCRIPT = """
import multiprocessing, sys
import torch
from hierbert import HierBert

torch.set_num_threads(2)
name, state, dtype, backend = sys.argv[1:]
texts = ["The old man went home. He slept, and the sea was calm. " * 200, "A word."]
if state == "built":
    model = HierBert.from_encoder(name)
else:
    model = HierBert.from_pretrained(
        name, dtype=dtype, backend=backend, device="cpu", compile=False
    )
if state == "used":
    list(model.predict(texts, ["embed"]))


def answer(pipe):
    vectors = [one.document_vector for one in model.predict(texts, ["embed"])]
    pipe.send((torch.get_num_threads(), vectors))


def forked(target):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=target, args=(there,))
    child.start()
    there.close()
    try:
        if not here.poll(100):
            sys.exit("the child hangs")
        return here.recv()
    finally:
        child.kill()
        child.join()


def fork_again(pipe):
    pipe.send(forked(answer))


threads, found = forked(answer)
# Only threads that were used are missed by a child; an encoder is converted by them.
assert threads == (1 if state == "used" or backend != "torch" else 2), threads
assert forked(fork_again)[1] == found
assert torch.get_num_threads() == 2
expected = [one.document_vector for one in model.predict(texts, ["embed"])]
torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=0, atol=TOLERANCE)
print("equal")
"""


@pytest.mark.parametrize(
    ("state", "dtype", "backend"),
    [
        *(("built", "float32", "torch"), ("loaded", "float32", "torch")),
        *(("used", "float32", "torch"), ("loaded", "int8", "torch")),
        *(("loaded", "float32", "openvino"), ("used", "float32", "openvino")),
    ],
)
def test_a_forked_child_answers_as_its_parent(encoders, tmp_path, state, dtype, backend) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folder: Path = encoders["bert"]
    if state != "built":
        folder = save_model(tmp_path / "model", folder)
    # In int8 a rounding error may be a step of 1/255.
    script = SCRIPT.replace("TOLERANCE", "1e-5" if dtype == "float32" else "0.1")
    done = subprocess.run(
        [sys.executable, "-c", script, folder, state, dtype, backend],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "2", "HIERBERT_CACHE": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0 and done.stdout == "equal\n", done.stderr[-2000:]
