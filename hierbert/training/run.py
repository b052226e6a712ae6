"""A run of the training command: training, and then the push that its settings ask for."""

from pathlib import Path
from typing import Any

from hierbert.config import RunConfig
from hierbert.log import is_first_process
from hierbert.training.pushing import check_push, push_run
from hierbert.training.signals import StopSignals
from hierbert.training.trainer import HierBertTrainer


def train(config: RunConfig, resume: bool = False, stop: StopSignals | None = None) -> Any:
    """Train, evaluate, save and push a model.

    Args:
        config: All settings.
        resume: Go on with the run in `config.run_dir`, with the same settings and documents.
        stop: See `HierBertTrainer.train`.

    Returns:
        What `results.json` holds.

    Raises:
        HierBertError: A mistake in the settings, the data or the run folder, in one line.
        KeyboardInterrupt: Training was stopped by a signal.
    """
    if config.publish.repo is not None:
        check_push(config.publish)
    results = HierBertTrainer(config=config).train(resume, stop)
    if is_first_process() and config.publish.repo is not None:
        push_run(Path(config.run_dir) / "model", config.publish)
    return results
