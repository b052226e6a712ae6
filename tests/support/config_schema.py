"""A schema of settings of every type, on which the loader is tested."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hierbert.errors import ConfigError
from hierbert.settings import load_config, setting


@dataclass
class Training:
    epochs: int = setting(3, "Passes over the documents.", at_least=1)
    learning_rate: float = setting(2e-5, "Peak learning rate, per step.", above=0, at_most=9)
    memory: Literal["keep", "recompute"] = setting("keep", "What the backward pass keeps.")
    freeze: bool = setting(False, "Leave the encoder as it is.")
    tokens: Literal["auto"] | int | None = setting(None, "Tokens of a pass.", at_least=1)


@dataclass
class Data:
    train: str | list[str] = setting(help="Training documents.")
    text_column: str = setting("text", "Column of the document.")
    label_column: str | None = setting(None, "Column of the label.")
    kinds: list[Literal["a", "b"]] = setting(factory=list)
    columns: dict[str, str] = setting(factory=dict, help="Columns by role.")

    def check(self) -> None:
        """A rule of two settings."""
        if self.text_column == self.label_column:
            raise ConfigError("data.text_column and data.label_column are the same column")


@dataclass
class Config:
    data: Data = setting(help="The corpus.")
    run_dir: str = setting("runs/one", "Folder of the run.")
    seed: int = setting(0, "Seed of all randomness.")
    scale: float = setting(1.0)
    training: Training = setting(factory=Training, help="How the weights are learnt.")


def load(text: str, folder: Path, *overrides: str) -> Any:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(Config, path, overrides)


def given(*overrides: str) -> Any:
    return load_config(Config, None, ["data.train=x", *overrides])
