"""Optimizer steps: their documents, and AdamW with two learning rates, warmed up and decayed."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from hierbert.config import RunConfig, TrainingConfig
from hierbert.data.epoch_plan import Step, plan_epoch

_ENCODER_PREFIX = "hierbert.segment_encoder.encoder."


def steps_of_epoch(
    config: RunConfig, sizes: Sequence[int], processes: int, epoch: int
) -> list[Step]:
    """The plan of an epoch, as the settings want it; `sizes` are tokens of the documents."""
    settings = config.training
    return plan_epoch(
        sizes,
        documents_per_batch=settings.documents_per_batch,
        processes=processes,
        accumulation_steps=settings.accumulation_steps,
        seed=config.seed,
        epoch=epoch,
        group_by_length=settings.group_by_length,
    )


def build_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over all weights that are trained.

    It has up to four groups: encoder and rest, with decay and without (biases, norms and other
    vectors).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in trained_weights(model):
        rate = settings.head_learning_rate
        if name.startswith(_ENCODER_PREFIX):
            rate = settings.encoder_learning_rate
        decay = settings.weight_decay if weight.dim() > 1 else 0.0
        groups.setdefault((rate, decay), []).append(weight)
    made = [{"params": own, "lr": r, "weight_decay": d} for (r, d), own in groups.items()]
    return torch.optim.AdamW(made)


def trained_weights(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    """Names and weights that training changes, in the model's order."""
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def build_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup_ratio: float, done: int = 0
) -> LambdaLR:
    """Learning rates that rise linearly from 0 and then fall linearly to 0.

    Args:
        optimizer: Its groups' rates are the peaks.
        steps: Optimizer steps of the whole run.
        warmup_ratio: Part of them in which the rates rise.
        done: Steps that are behind already; the rates are then what they would be after them,
            to the last bit.

    Returns:
        The schedule, to be stepped after each optimizer step.
    """
    warmup = round(steps * warmup_ratio)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (steps - step) / max(1, steps - warmup))

    schedule = LambdaLR(optimizer, factor)
    schedule.last_epoch = done
    for group, peak in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = peak * factor(done)
    return schedule
