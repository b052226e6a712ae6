"""The training loop: steps over a plan of the epoch, evaluation, the best weights, checkpoints."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from hierbert.cache import reason, write_whole
from hierbert.config import RunConfig
from hierbert.data.documents import PreparedDocument, collate_documents
from hierbert.data.labels import LabelMap
from hierbert.data.plan import Step, plan_epoch
from hierbert.errors import RunError
from hierbert.evaluation.answers import answer_documents
from hierbert.evaluation.scores import choose_metric, score_answers
from hierbert.model.decoding import SummaryRule
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.progress import Progress, say
from hierbert.training.checkpoints import (
    TrainerState,
    find_checkpoints,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from hierbert.training.optimization import build_optimizer, build_schedule, trained_weights
from hierbert.training.trackers import Trackers
from hierbert.vectors.fill import VectorCache


@dataclass
class Trainer:
    """Trains one model on one corpus.

    Attributes:
        config: The run's settings.
        accelerator: Moves things to devices and averages gradients.
        model: On the device, frozen as configured.
        train: Training documents.
        validation: Validation documents.
        label_map: Of the classification head; None without one.
        rule: How to summarize; None without a summarization head.
        vectors: Of a frozen encoder; None encodes tokens in every step.
        folder: The run's folder.
        trackers: Where metrics go.
    """

    config: RunConfig
    accelerator: Accelerator
    model: HierBertForDocuments
    train: list[PreparedDocument]
    validation: list[PreparedDocument]
    label_map: LabelMap | None
    rule: SummaryRule | None
    vectors: VectorCache | None
    folder: Path
    trackers: Trackers

    def run(self, resume: bool = False) -> TrainerState:
        """Train to the end or to the last improvement, and leave the best weights in the model.

        Args:
            resume: Go on from the newest checkpoint, if there is one.

        Returns:
            Where training ended.

        Raises:
            RunError: A checkpoint cannot be written or read, or the loss is not finite.
        """
        settings = self.config.training
        self.optimizer = build_optimizer(self.model, settings)
        self.wrapped, self.prepared = self.accelerator.prepare(self.model, self.optimizer)
        self.sizes = [document.tokens for document in self.train]
        steps_per_epoch = -(-len(self.train) // settings.documents_per_batch)
        total = steps_per_epoch * settings.epochs
        self.schedule = build_schedule(self.optimizer, total, settings.warmup_ratio)
        self.state = TrainerState(corpus=_fingerprint(self.train))
        if resume:
            self._resume()
        tokens = sum(self.sizes) * settings.epochs
        before = self._tokens_done()
        with Progress(tokens, "training", unit="tokens", initial=before) as self.bar:
            while self.state.epoch < settings.epochs and not self._is_over():
                self._epoch(self._plan(self.state.epoch))
        self._load_best()
        return self.state

    def _plan(self, epoch: int) -> list[Step]:
        settings = self.config.training
        return plan_epoch(
            self.sizes,
            documents_per_batch=settings.documents_per_batch,
            processes=self.accelerator.num_processes,
            accumulation_steps=settings.accumulation_steps,
            seed=self.config.seed,
            epoch=epoch,
            group_by_length=settings.group_by_length,
        )

    def _epoch(self, plan: list[Step]) -> None:
        """The rest of one epoch."""
        settings = self.config.training
        self.model.train()
        for step in plan[self.state.step_in_epoch :]:
            self._step(step)
            self.state.step_in_epoch += 1
            self.state.step += 1
            last = self.state.step_in_epoch == len(plan)
            if last:
                self.state.epoch += 1
                self.state.step_in_epoch = 0
            every = settings.eval_every_steps
            # The weights of the end may be the best, whatever the rhythm of evaluations.
            ended = last and self.state.epoch == settings.epochs
            evaluated = ended or (self.state.step % every == 0 if every else last)
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
        labelled = sum(self.train[index].label is not None for index in everyone)
        summarized = sum(_has_sentence_labels(self.train[index]) for index in everyone)
        # A process without documents takes one that weighs nothing, so that it runs every
        # parameter and every exchange of gradients like the others.
        idle = not passes
        if idle:
            passes = [[everyone[0]]]
        sums = {"loss": 0.0, "classification_loss": 0.0, "summarization_loss": 0.0}
        for number, indices in enumerate(passes):
            batch = self._collate([self.train[index] for index in indices], idle)
            is_last = number == len(passes) - 1
            # Gradients are exchanged once a step, after the last pass.
            with nullcontext() if is_last else self.accelerator.no_sync(self.wrapped):
                output = self.wrapped(
                    **batch,
                    labelled_documents=float(labelled),
                    summarized_documents=float(summarized),
                )
                # Processes average their gradients; each has only its part of the sum.
                self.accelerator.backward(output.loss * self.accelerator.num_processes)
            for name in sums:
                value = getattr(output, name)
                sums[name] += 0.0 if value is None else float(value.detach())
        norm = self.accelerator.clip_grad_norm_(
            [weight for _, weight in trained_weights(self.model)],
            self.config.training.max_gradient_norm,
        )
        totals = self._sum_over_processes(sums)
        if not all(value == value and abs(value) != float("inf") for value in totals.values()):
            ids = ", ".join(self.train[index].id for index in everyone)
            raise RunError(
                f"the loss is not finite ({totals['loss']}) in step {self.state.step + 1}; its "
                f"documents are {ids}; a lower learning rate or mixed_precision=no may help"
            )
        self.prepared.step()
        self.prepared.zero_grad()
        if self.prepared.step_was_skipped:
            self.state.skipped_steps += 1
        else:
            self.schedule.step()
        for name, value in totals.items():
            self.state.losses[name] = self.state.losses.get(name, 0.0) + value
        self.state.losses_steps += 1
        self.bar.note(loss=totals["loss"])
        self.bar.advance(sum(self.sizes[index] for index in everyone))
        self.gradient_norm = float(norm) if norm is not None else 0.0

    def _collate(
        self, documents: Sequence[PreparedDocument], hide_labels: bool
    ) -> dict[str, torch.Tensor]:
        vectors = None
        if self.vectors is not None:
            vectors = self.vectors.batch([document.segmented for document in documents])
        batch = collate_documents(
            documents, self.label_map, self.rule is not None, vectors, hide_labels
        )
        return {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def _sum_over_processes(self, sums: dict[str, float]) -> dict[str, float]:
        if self.accelerator.num_processes == 1:
            return sums
        values = torch.tensor(list(sums.values()), device=self.accelerator.device)
        return dict(zip(sums, self.accelerator.reduce(values, "sum").tolist(), strict=True))

    def _evaluate(self) -> None:
        """Score the validation documents, note the figures, keep the best weights."""
        scores = self.scores(self.validation, "validating")
        metric = choose_metric(
            self.config.training.metric, scores, self.label_map, self.rule is not None
        )
        gain = self.state.best_metric is None or metric > self.state.best_metric
        # Metrics of few documents are often equal; the loss still tells weights apart.
        tie = metric == self.state.best_metric
        better = gain or (tie and scores["loss"] < self.state.best_scores["loss"])
        # Patience counts gains of the metric alone: a loss may creep down for ever.
        without_gain = 0 if gain else self.state.evaluations_without_gain + 1
        self.state.evaluations_without_gain = without_gain
        if better:
            self.state.best_metric, self.state.best_step = metric, self.state.step
            self.state.best_scores = scores
            if self.accelerator.is_main_process:
                best = self.folder / "checkpoints" / "best.safetensors"
                _write_best(self.model, best)
        losses = {
            name: value / max(1, self.state.losses_steps)
            for name, value in self.state.losses.items()
        }
        self.state.losses, self.state.losses_steps = {}, 0
        line = {
            "step": self.state.step,
            "epoch": round(
                self.state.step / -(-len(self.train) // self.config.training.documents_per_batch), 4
            ),
            **{f"train.{name}": value for name, value in losses.items()},
            "train.gradient_norm": self.gradient_norm,
            "train.learning_rate": self.optimizer.param_groups[-1]["lr"],
            **{f"validation.{name}": value for name, value in scores.items()},
            "best": better,
        }
        self.trackers.log(line)
        shown = [f"{name} {scores[name]:.4f}" for name in _SHOWN if name in scores]
        say(
            f"epoch {line['epoch']:g}, step {self.state.step}: train loss "
            f"{losses.get('loss', 0.0):.4f}; validation {', '.join(shown)}"
            + (" (best)" if better else "")
        )

    def scores(self, documents: list[PreparedDocument], description: str) -> dict[str, float]:
        """Every metric of the model, as it is, on a corpus."""
        answers = answer_documents(
            self.model,
            documents,
            self.accelerator,
            self.label_map,
            self.rule,
            self.vectors,
            description,
        )
        weights = self.config.training
        return score_answers(
            answers,
            documents,
            self.label_map,
            self.model.config.decision_threshold,
            (weights.classification_loss_weight, weights.summarization_loss_weight),
        )

    def _is_over(self) -> bool:
        patience = self.config.training.patience
        return patience is not None and self.state.evaluations_without_gain >= patience

    def _save(self) -> None:
        save_checkpoint(
            self.folder / "checkpoints",
            self.model,
            self.optimizer,
            self.state,
            self.accelerator,
            self.config.training.keep_checkpoints,
        )

    def _resume(self) -> None:
        found = find_checkpoints(self.folder / "checkpoints")
        if not found:
            say(f"no checkpoint in {self.folder}: starting from the beginning")
            self.trackers.forget_after(0)
            return
        corpus = self.state.corpus
        self.state = load_checkpoint(found[-1], self.model, self.optimizer, self.accelerator)
        if self.state.corpus != corpus:
            raise RunError(
                f"{found[-1]} was trained on other documents than data.train holds now; put them "
                "back, or start anew with another run_dir"
            )
        self.schedule.last_epoch = self.state.step - self.state.skipped_steps
        self.trackers.forget_after(self.state.step)
        say(f"resuming from {found[-1]} (epoch {self.state.epoch}, step {self.state.step})")

    def _tokens_done(self) -> int:
        done = self.state.epoch * sum(self.sizes)
        if self.state.step_in_epoch:
            for step in self._plan(self.state.epoch)[: self.state.step_in_epoch]:
                done += sum(self.sizes[i] for shares in step for share in shares for i in share)
        return done

    def _load_best(self) -> None:
        self.accelerator.wait_for_everyone()
        best = self.folder / "checkpoints" / "best.safetensors"
        if self.state.best_step >= 0 and self.state.best_step != self.state.step:
            load_weights(self.model, best)
        self.model.eval()


_SHOWN = ("loss", "accuracy", "macro_f1", "map", "mse", "rouge1", "rouge2", "rougeLsum")


def _has_sentence_labels(document: PreparedDocument) -> bool:
    return document.sentence_labels is not None and bool(document.segmented.sentence_spans)


def _write_best(model: HierBertForDocuments, path: Path) -> None:
    try:
        write_whole(path, lambda aside: save_weights(model, aside))
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path} cannot be written: {reason(error)}; mend that and go on with --resume"
        ) from error


def _fingerprint(documents: Sequence[PreparedDocument]) -> str:
    """Hash of what training reads: tokens, labels and sentence labels, in order."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(json.dumps([document.id, document.label, document.sentence_labels]).encode())
        digest.update(document.segmented.input_ids.numpy().tobytes())
    return digest.hexdigest()[:32]
