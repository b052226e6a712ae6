"""Optimizer steps: their documents, and AdamW with two learning rates, warmed up and decayed."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn

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
    """AdamW over all weights that are trained; `set_learning_rates` comes before each step.

    It has up to four groups: encoder and rest, with decay and without (biases, norms and other
    vectors), each with its highest learning rate as "peak".
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in trained_weights(model):
        rate = settings.head_learning_rate
        if name.startswith(_ENCODER_PREFIX):
            rate = settings.encoder_learning_rate
        decay = settings.weight_decay if weight.dim() > 1 else 0.0
        groups.setdefault((rate, decay), []).append(weight)
    return torch.optim.AdamW(
        {"params": own, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), own in groups.items()
    )


def learning_rates(optimizer: torch.optim.Optimizer, settings: TrainingConfig) -> dict[str, float]:
    """The rate of the rest and, where it is trained, of the encoder, as metrics.jsonl has them."""
    rates = {"train.learning_rate": optimizer.param_groups[-1]["lr"]}
    if not settings.freeze_encoder:
        # Its weights come first in the model.
        rates["train.encoder_learning_rate"] = optimizer.param_groups[0]["lr"]
    return rates


def trained_weights(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    """Names and weights that training changes, in the model's order."""
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def set_learning_rates(
    optimizer: torch.optim.Optimizer, updates: int, total: int, warmup_ratio: float
) -> None:
    """Let rates rise linearly from 0 to their peaks and then fall linearly to 0.

    `updates` are the steps so far that changed weights, of `total`.
    """
    warmup = round(total * warmup_ratio)
    if updates < warmup:
        factor = (updates + 1) / (warmup + 1)
    else:
        factor = max(0.0, (total - updates) / max(1, total - warmup))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
