"""The training loop: steps over a plan of the epoch, evaluation, the best weights, checkpoints."""

import gc
import math
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object, set_seed

from hierbert.data.epoch_plan import Step
from hierbert.errors import RunError
from hierbert.log import Progress, log
from hierbert.model.answering import collate_inputs
from hierbert.model.heads import HEADS
from hierbert.tasks.evaluation import StoppedError, choose_metric, not_finite, score_answers
from hierbert.tasks.prepared import PreparedDocument, collate_targets
from hierbert.tasks.results import memory_now
from hierbert.tasks.task import Task
from hierbert.training.callbacks import Callback
from hierbert.training.checkpoints import Checkpoints
from hierbert.training.nonfinite import HELP, find_nonfinite, leave_out_or_stop
from hierbert.training.optimization import (
    build_optimizer,
    learning_rates,
    set_learning_rates,
    steps_of_epoch,
    trained_weights,
)
from hierbert.training.processes import on_first_process
from hierbert.training.resuming import resume_run, run_identity
from hierbert.training.run import Run
from hierbert.training.signals import StopSignals
from hierbert.training.state import TrainerState
from hierbert.training.trackers import Trackers, line_text


class TrainingLoop:
    """Trains the model of a run; `stop` notes signals meanwhile.

    Attributes:
        seconds: Of the training steps and their evaluations, once they are over.
        tokens: Of the documents trained on in that time, over all processes.
        course: Of each evaluation since then the step, the tokens trained on a second since the one
            before, where they are encoded, and the most memory that this process has held.
    """

    def __init__(self, run: Run, stop: StopSignals, callbacks: Sequence[Callback] = ()) -> None:
        self._run, self.stop, self.callbacks = run, stop, callbacks
        self.seconds, self.tokens = 0.0, 0
        self.course: list[dict[str, Any]] = []
        self._stepped, self._timed = 0.0, (0.0, 0)
        self.config, self.accelerator, self.model = run.config, run.accelerator, run.model
        self.train = run.splits["train"]
        self.sizes = [run.dropout.longest(document).tokens for document in self.train]
        self.trackers = Trackers(run.folder / "metrics.jsonl", run.accelerator)

    def run(self, resume: bool = False) -> TrainerState:
        """Train to the end or to the last improvement, and leave the best weights in the model.

        With `resume` from the newest whole checkpoint, if there is one. After a signal's
        KeyboardInterrupt there is a checkpoint of the step it came in.
        """
        # New weights and dropout follow from the seed, whatever was drawn before.
        set_seed(self.config.seed + 1 + self.accelerator.process_index)
        began, settings = time.monotonic(), self.config.training
        with self.stop:
            self._begin_or_resume(resume)
            tokens, before = sum(self.sizes) * settings.epochs, self._tokens_done()
            with Progress(tokens, "training", unit="tokens", initial=before) as self.bar:
                if self.state.evaluation_due:
                    self._evaluate()
                    self._save()
                while self.state.epoch < settings.epochs and not self._is_over():
                    self._epoch(self._plan(self.state.epoch))
            self._load_best()
            if self.stop.received is not None:
                # Too late to be seen in a step; the last checkpoint holds the end of training.
                raise KeyboardInterrupt
        self.seconds = time.monotonic() - began
        return self.state

    def close(self) -> None:
        """Drop the wrapper for several processes, and then take their connection down.

        Left to the end of this process, its C++ part closes the connection while it holds Python's
        lock. Now and then a thread of gloo waits for that lock just then, and the process never
        ends.
        """
        del self.wrapped, self.prepared
        # Mixed precision put a forward of its own on the model itself.
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.accelerator.free_memory()
        gc.collect()
        processes = self.accelerator.num_processes
        self.accelerator.end_training()
        if processes > 1 and not torch.distributed.is_initialized():
            # So that the next run of this program connects its processes anew.
            AcceleratorState._reset_state(reset_partial_state=True)

    def _begin_or_resume(self, resume: bool) -> None:
        """Be at the run's beginning, or at its newest whole checkpoint."""
        settings, folder = self.config.training, self._run.folder
        self.optimizer = build_optimizer(self.model, settings)
        identity = run_identity(self._run.splits, self._run.tasks, self.model)
        self.wrapped, self.prepared = self.accelerator.prepare(self.model, self.optimizer)
        self.checkpoints = Checkpoints(
            folder / "checkpoints",
            self.model,
            self.optimizer,
            self.accelerator,
            settings.keep_checkpoints,
        )
        found = resume_run(folder, self.checkpoints, identity) if resume else None
        self.state = state = found or TrainerState(identity=identity.hashes)
        self.trackers.begin(state.step if state.evaluation_due else state.step + 1)
        if found is None:
            on_first_process(self.accelerator, lambda: identity.save(folder))
        self.steps_per_epoch = -(-len(self.train) // settings.documents_per_batch)
        self._set_learning_rates()

    def _set_learning_rates(self) -> None:
        """Let the learning rates be those of the next step."""
        settings = self.config.training
        total = self.steps_per_epoch * settings.epochs
        set_learning_rates(self.optimizer, self.state.updates, total, settings.warmup_ratio)

    def _plan(self, epoch: int) -> list[Step]:
        return steps_of_epoch(self.config, self.sizes, self.accelerator.num_processes, epoch)

    def _tokens_done(self) -> int:
        done = self.state.epoch * sum(self.sizes)
        if self.state.step_in_epoch:
            for step in self._plan(self.state.epoch)[: self.state.step_in_epoch]:
                done += sum(self.sizes[i] for shares in step for share in shares for i in share)
        return done

    def _epoch(self, plan: list[Step]) -> None:
        """The rest of one epoch."""
        settings = self.config.training
        self.model.train()
        for step in plan[self.state.step_in_epoch :]:
            began = time.monotonic()
            self._step(step)
            self._stepped += time.monotonic() - began
            self.state.step_in_epoch += 1
            self.state.step += 1
            self._set_learning_rates()
            for callback in self.callbacks:
                callback.on_step(self.state.step, self.figures)
            last = self.state.step_in_epoch == len(plan)
            if last:
                self.state.epoch += 1
                self.state.step_in_epoch = 0
            every = settings.eval_every_steps
            # The weights of the end may be the best, whatever the rhythm of evaluations.
            ended = last and self.state.epoch == settings.epochs
            evaluated = ended or (self.state.step % every == 0 if every else last)
            self.state.evaluation_due = evaluated
            if self.stopping:
                self._stop()
            if evaluated:
                self._evaluate()
            often = settings.checkpoint_every_steps
            if evaluated or last or (often and self.state.step % often == 0):
                self._save()
            if self._is_over():
                return

    def _step(self, step: Step) -> None:
        """One optimizer step: this process's documents forward and back, then all weights."""
        passes = step[self.accelerator.process_index]
        everyone = [index for shares in step for share in shares for index in share]
        counted = {
            f"documents.{task.name}": float(sum(self._counts(task, index) for index in everyone))
            for task in self._run.tasks
        }
        # A process without documents takes one that weighs nothing, so that it runs every
        # parameter and every exchange of gradients like the others.
        own = [index for indices in passes for index in indices]
        idle = not passes
        if idle:
            passes = [[everyone[0]]]
        sums = {"loss": 0.0, **{f"{name}_loss": 0.0 for name in HEADS}}
        for number, indices in enumerate(passes):
            batch = self._collate([self._shown(index) for index in indices], idle)
            is_last = number == len(passes) - 1
            # Gradients are exchanged once a step, after the last pass.
            with nullcontext() if is_last else self.accelerator.no_sync(self.wrapped):
                output = self.wrapped(**batch, **counted)
                # Processes average their gradients; each has only its part of the sum.
                self.accelerator.backward(output.loss * self.accelerator.num_processes)
            sums["loss"] += float(output.loss.detach())
            for name, value in output.losses.items():
                sums[f"{name}_loss"] += float(value.detach())
        norm = self.accelerator.clip_grad_norm_(
            [weight for _, weight in trained_weights(self.model)],
            self.config.training.max_gradient_norm,
        )
        self.figures = totals = self._sum_over_processes(sums)
        gradient_norm = float(norm) if norm is not None else 0.0
        self.bar.note(loss=totals["loss"])
        self.bar.advance(sum(self.sizes[index] for index in everyone))
        self.tokens += sum(self._shown(index).tokens for index in everyone)
        # With fp16, gradients that overflow are what its scaler is for.
        scaled = self.accelerator.scaler is not None
        if not all(map(math.isfinite, totals.values())):
            self._leave_out(own, everyone, f"loss ({totals['loss']:g})", counted)
            return
        if not (scaled or math.isfinite(gradient_norm)):
            self._leave_out(own, everyone, f"gradient (norm {gradient_norm:g})", counted)
            return
        self.prepared.step()
        self.prepared.zero_grad()
        self.state.nonfinite_in_a_row = 0
        if self.prepared.step_was_skipped:
            self.state.skipped_steps += 1
        for name, value in totals.items():
            self.state.losses[name] = self.state.losses.get(name, 0.0) + value
        self.state.losses_steps += 1
        # JSON knows no infinity, which fp16 may give here.
        self.state.gradient_norm = gradient_norm if math.isfinite(gradient_norm) else 0.0

    def _leave_out(
        self, own: list[int], everyone: list[int], what: str, counted: dict[str, float]
    ) -> None:
        """Name the documents of a step that is not finite; go on without it, or end the run."""

        def loss_alone(index: int) -> torch.Tensor:
            return self.model(**self._collate([self._shown(index)], False), **counted).loss

        weights = [weight for _, weight in trained_weights(self.model)]
        self.prepared.zero_grad()
        found = find_nonfinite(own, loss_alone, weights, self.accelerator.autocast)
        alone = gather_object([self.train[index].id for index in found])
        step, in_a_row = self.state.step + 1, self.state.nonfinite_in_a_row + 1
        skip = self.config.training.on_nonfinite_loss == "skip"
        ids = [self.train[index].id for index in everyone]
        what = f"step {step}: its {what}"
        log.info(leave_out_or_stop(what, alone, ids, in_a_row if skip else None))
        self.state.nonfinite_steps += 1
        self.state.nonfinite_in_a_row = in_a_row
        scaler = self.accelerator.scaler
        if scaler is not None:
            # It has seen this step's gradients and would refuse the next ones.
            scaler.update(scaler.get_scale())

    def _shown(self, index: int) -> PreparedDocument:
        """A training document as this epoch reads it."""
        return self._run.dropout.draw(self.train[index], index, self.state.epoch)

    def _counts(self, task: Task, index: int) -> bool:
        document = self.train[index]
        return task.counts(document.targets[task.name], document.segmented)

    def _collate(
        self, documents: Sequence[PreparedDocument], hide_targets: bool
    ) -> dict[str, torch.Tensor]:
        segmented = [document.segmented for document in documents]
        vectors = None if self._run.vectors is None else self._run.vectors.batch(segmented)
        batch = collate_inputs(self.model, segmented, vectors=vectors)
        targets = collate_targets(documents, self._run.tasks, hide_targets)
        batch |= {f"targets.{name}": values for name, values in targets.items()}
        return {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def _sum_over_processes(self, sums: dict[str, float]) -> dict[str, float]:
        """Add up figures, and let all processes know of a signal that one of them received."""
        received = self.stop.received
        self.stopping = received is not None
        if self.accelerator.num_processes == 1:
            return sums
        signals = [float(received == signal.SIGINT), float(received == signal.SIGTERM)]
        values = torch.tensor([*sums.values(), *signals], device=self.accelerator.device)
        *totals, interrupted, terminated = self.accelerator.reduce(values, "sum").tolist()
        self.stopping = interrupted + terminated > 0
        if self.stopping and received is None:
            self.stop.received = signal.SIGTERM if terminated else signal.SIGINT
        return dict(zip(sums, totals, strict=True))

    def _stop(self) -> None:
        """End training by a signal; every process is here."""
        self._save()
        log.info(f"stopped after step {self.state.step}; its checkpoint is whole")
        raise KeyboardInterrupt

    def _evaluate(self) -> None:
        """Score the validation documents, note the figures, keep the best weights."""
        run, state, validation = self._run, self.state, self._run.splits["validation"]
        try:
            answers = run.answer(
                "validation", "validating", stop=lambda: self.stop.received is not None
            )
        except StoppedError:
            self._stop()
        name = self.config.training.metric
        scores = score_answers(answers, validation, run.tasks, self.model)
        metric = choose_metric(name, scores, run.tasks)
        figures = {"loss": scores["loss"], **({} if name == "loss" else {"metric": metric})}
        problem = not_finite(f"validation after step {state.step}", figures, answers, validation)
        problem = problem and f"{problem}; {HELP}"
        better = problem is None and state.note_scores(metric, scores)
        if better:
            self.checkpoints.save_best(state)
        losses = {name: value / max(1, state.losses_steps) for name, value in state.losses.items()}
        line = {
            "step": state.step,
            "epoch": round(state.epoch + state.step_in_epoch / self.steps_per_epoch, 4),
            **{f"train.{name}": value for name, value in losses.items()},
            "train.gradient_norm": state.gradient_norm,
            "train.nonfinite_steps": state.nonfinite_steps,
            **learning_rates(self.optimizer, self.config.training),
            **{f"validation.{name}": value for name, value in scores.items()},
            "best": better,
        }
        self.trackers.log(line)
        self._note_course()
        if problem is not None and self.config.training.on_nonfinite_loss == "stop":
            # The evaluation stays due: a resume tries it again, maybe with "skip".
            self._save()
            raise RunError(f"{problem}, and training.on_nonfinite_loss=skip goes on without it")
        if problem is not None:
            state.evaluations_without_gain += 1
            log.info(f"never the best: {problem}")
        state.evaluation_due = False
        state.losses, state.losses_steps = {}, 0
        log.info(line_text(line))
        self._call_back({**scores, "metric": metric})

    def _note_course(self) -> None:
        """How fast the steps since the last evaluation were, and what they took."""
        seconds, tokens = self._stepped - self._timed[0], self.tokens - self._timed[1]
        self._timed = self._stepped, self.tokens
        # Of a frozen encoder, steps read vectors: tokens a second would mislead.
        encoded = self._run.vectors is None and seconds > 0
        self.course.append(
            {
                "step": self.state.step,
                "tokens_per_second": round(tokens / seconds, 1) if encoded else None,
                **memory_now(self.accelerator.device),
            }
        )

    def _call_back(self, scores: dict[str, float]) -> None:
        """Tell of an evaluation; what a callback raises leaves a whole checkpoint of it."""
        try:
            ends = [each.on_evaluation(self.state.step, scores) for each in self.callbacks]
        except BaseException:
            # Where several processes save together, the others may not come.
            if self.accelerator.num_processes == 1:
                self._save()
            raise
        self.state.ended = any(gather_object([any(ends)]))

    def _is_over(self) -> bool:
        patience = self.config.training.patience
        if self.state.ended:
            return True
        return patience is not None and self.state.evaluations_without_gain >= patience

    def _save(self) -> None:
        self.checkpoints.save(self.state)

    def _load_best(self) -> None:
        self.accelerator.wait_for_everyone()
        if self.state.best_step < 0:
            raise RunError(
                f"no validation of this run was finite, so that no weights can be the best; {HELP} "
                "(start anew with another run_dir)"
            )
        if self.state.best_step != self.state.step:
            self.checkpoints.load_best(self.state)
        self.model.eval()
