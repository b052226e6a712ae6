"""A schema of settings of every type, on which the loader is tested."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hierbert.config_loading import load_config, setting


@dataclass(frozen=True)
class Stopping:
    patience: int = setting(3, "Evaluations without progress.")
    smallest_gain: float = setting(0.0, "What counts as progress.")


@dataclass(frozen=True)
class Training:
    """How the weights are learnt."""

    epochs: int = setting(3, "Passes over the documents.")
    learning_rate: float = setting(2e-5, "Peak learning rate, per step.")
    memory: Literal["keep", "recompute"] = setting("keep", "What the backward pass keeps.")
    freeze: bool = setting(False, "Leave the encoder as it is.")
    task_weights: dict[str, float] = setting(factory=lambda: {"labels": 1.0, "summary": 2.0})
    stopping: Stopping | None = setting(None, "When to end early.")
    warmup: int | float | str | None = setting(None)


@dataclass(frozen=True)
class Data:
    train: str | list[str] = setting(help="Training documents.")
    text_column: str = setting("text", "Column of the document.")
    label_column: str | None = setting(None, "Column of the label.")
    columns: list[str] = setting(factory=list)
    sizes: tuple[int, ...] = setting(())


@dataclass(frozen=True)
class Config:
    data: Data
    run_dir: Path = setting(Path("runs/one"), "Folder of the run.")
    seed: int = setting(0, "Seed of all randomness.")
    training: Training = setting(factory=Training)


@dataclass(frozen=True)
class Defaults:
    """A schema in which nothing is required."""

    seed: int = 0
    training: Training = field(default_factory=lambda: Training(epochs=9, learning_rate=0.5))
    text: str = "a"


def load(text: str, folder: Path, *overrides: str, schema: type = Config) -> Any:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(schema, path, overrides)
