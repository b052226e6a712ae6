"""Two processes: signals, steps that are left out, locks, and the same bits in the end."""

import os

import pytest
from commands import ROOT, run, succeed
from small_runs import Settings, outcome

from hierbert.files import FolderLock
from hierbert.training.checkpoints import find_checkpoints

# Sends a signal to the process of a rank, or to its parent (torchrun), at a step or in an answer of
# a validation; lets the loss of one document be infinite; notes what each process ends with.
WORKER = f"""
import gc, hashlib, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from accelerate import Accelerator
from torch.nn.parallel import DistributedDataParallel
from hierbert.cli.train import main
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.tasks import evaluation as answers
from hierbert.training.loop import TrainingLoop

number, place, rank, whom, poison = sys.argv[1:6]
step, answer, collate = TrainingLoop._step, answers._answer_batch, TrainingLoop._collate
forward, load_best = HierBertForDocuments.forward, TrainingLoop._load_best
end_training, evaluated, poisoned = Accelerator.end_training, [], [False]

def send():
    if os.environ.get("RANK", "0") == rank:
        os.kill(os.getppid() if whom == "parent" else os.getpid(), getattr(signal, number))

def signalled(self, plan):
    if place == f"step {{self.state.step}}":
        send()
    step(self, plan)

def in_validation(*given):
    evaluated.append(0)
    if place == f"answer {{len(evaluated)}}":
        send()
    return answer(*given)

def noting(self, documents, hide_targets):
    poisoned[0] = not hide_targets and any(document.id == poison for document in documents)
    return collate(self, documents, hide_targets)

def broken(self, **inputs):
    output = forward(self, **inputs)
    if self.training and poisoned[0]:
        output.loss = output.loss * float("inf")
    return output

def ended(self):
    digest = hashlib.sha256()
    for weight in self.model.parameters():
        digest.update(weight.detach().numpy().tobytes())
    words = ("WEIGHTS", digest.hexdigest(), self.state.nonfinite_steps, self.state.updates)
    # In one write: the other process prints to the same pipe.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
    load_best(self)

def at_the_end(self):
    alive = sum(isinstance(one, DistributedDataParallel) for one in gc.get_objects())
    print("WRAPPERS", alive, flush=True)
    end_training(self)

TrainingLoop._step, answers._answer_batch, TrainingLoop._collate = signalled, in_validation, noting
HierBertForDocuments.forward, TrainingLoop._load_best = broken, ended
Accelerator.end_training, answers.TOKENS_PER_BATCH = at_the_end, 1
raise SystemExit(main(sys.argv[6:]))
"""
CALM = ("SIGTERM", "never", "0", "parent")


@pytest.fixture
def arguments(arguments, tmp_path) -> Settings:
    """Arguments of a run of 6 steps; one document more than 2 processes share evenly."""
    (tmp_path / "worker.py").write_text(WORKER)
    return lambda *more: arguments("training.accumulation_steps=2", *more)


@pytest.mark.slow
def test_signals_at_steps_and_in_validation_end_in_the_same_bits(arguments, tmp_path) -> None:
    worker = tmp_path / "worker.py"
    # The worker answers documents one by one, so the runs that nothing happens to are its too.
    calm = [worker, *CALM, "none"]
    succeed(*calm, *arguments(f"run_dir={tmp_path / 'whole'}"), processes=2)
    for count, (number, place, checkpoint) in enumerate(
        [
            ("SIGTERM", "step 1", "step_00000002"),
            ("SIGINT", "answer 2", "step_00000003"),
            ("SIGTERM", "step 4", "step_00000005"),
        ]
    ):
        rest = [*arguments(), *(["--resume"] if count else [])]
        done = run(worker, number, place, "0", "parent", "none", *rest, processes=2)
        assert "Error" not in done.stderr.partition("Traceback")[0], done.stderr
        assert done.returncode != 0 and "stopped after step" in done.stderr, done.stderr
        assert find_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == checkpoint
    succeed(*calm, *arguments(), "--resume", processes=2)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_a_signal_to_one_process_of_two_ends_both(arguments, tmp_path) -> None:
    told = ("SIGTERM", "step 1", "1", "self", "none")
    done = run(tmp_path / "worker.py", *told, *arguments(), processes=2)
    assert done.returncode != 0
    assert "stopped after step" in done.stderr, done.stderr
    (checkpoint,) = find_checkpoints(tmp_path / "run" / "checkpoints")
    # The others hear of it when the losses are added up: in this step or in the next.
    assert checkpoint.name in ("step_00000002", "step_00000003")


@pytest.mark.slow
def test_a_step_left_out_is_left_out_on_both_processes(arguments, tmp_path) -> None:
    skip = "training.on_nonfinite_loss=skip"
    done = succeed(tmp_path / "worker.py", *CALM, "d3", *arguments(skip), processes=2)
    ends = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("WEIGHTS")]
    # Six steps, of which the one with the document is left out in each of two epochs.
    assert len(ends) == 2 and ends[0] == ends[1] and ends[0][1:] == ["2", "4"]
    # A wrapper that outlives the connection of the processes hangs now and then at its end.
    assert done.stdout.count("WRAPPERS 0") == 2
    # Whichever process had it, the first one names it, once an epoch.
    assert done.stderr.count("left out: step") == 2
    assert done.stderr.count("documents that do it alone: d3") == 2


@pytest.mark.slow
def test_two_processes_are_kept_out_of_a_live_runs_folder(arguments, tmp_path) -> None:
    with FolderLock(tmp_path / "run", "another"):
        done = run("train.py", *arguments(), processes=2)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and f"in use by process {os.getpid()}" in errors[0]
