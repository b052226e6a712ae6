"""Training by several processes of which one is killed: each that is left says so in one line."""

import os
import subprocess
import sys

import pytest
from commands import ROOT, run
from small_runs import small_run

pytestmark = pytest.mark.slow

# Kills one of the processes at a step, and writes what the others say to files.
TRAIN = """
import os, signal, sys
sys.path.insert(0, ROOT)
from torch.optim.optimizer import register_optimizer_step_post_hook

rank, victim, at = os.environ["RANK"], VICTIM, AT
steps = []

def kill(*_):
    steps.append(1)
    if rank == victim and len(steps) == at:
        os.kill(os.getpid(), signal.SIGKILL)

register_optimizer_step_post_hook(kill)
sys.stderr = open(os.path.join(FOLDER, rank), "w", buffering=1)
from hierbert.cli.train import main
code = main()
print("exit code", code, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(("victim", "at"), [("1", 2), ("0", 2)])
def test_the_others_say_that_a_process_is_gone(encoders, tmp_path, victim, at) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    script = tmp_path / "train_and_kill.py"
    values = {"ROOT": str(ROOT), "VICTIM": victim, "AT": at, "FOLDER": str(tmp_path)}
    text = TRAIN
    for name, value in values.items():
        text = text.replace(name, repr(value))
    # The only `ROOT`, `VICTIM`, `AT` and `FOLDER` of the script are these.
    script.write_text(text, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launch += ["--master_port", "0", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    arguments = settings("training.checkpoint_every_steps=1")
    done = subprocess.run(
        [*launch, str(script), *arguments], env=env, capture_output=True, text=True
    )
    assert done.returncode != 0
    said = (tmp_path / ("0" if victim == "1" else "1")).read_text(encoding="utf-8")
    assert "another process of this run is gone" in said and "--resume" in said, said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "exit code 2"
    resumed = run("train.py", *arguments, "--resume", processes=2)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
