"""What is looked for in the documents of a run: one check is one file of `checks`.

No other file names it. Documents come one after the other and are not kept.
"""

import pkgutil
from collections.abc import Iterable
from importlib import import_module
from typing import Any, ClassVar, TypeVar

from transformers import PreTrainedTokenizerBase

from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding
from hierbert.config import RunConfig


class Check:
    """Something that is looked for; an instance looks at one corpus.

    Attributes:
        name: Of its entry in the report.
        is_cheap: Whether every run looks for it when it begins.
        place: Of its table in the report, from 0.

    Args:
        config: Of the run.
        tokenizer: Of the encoder; None where there is none, or it is not to be asked.
    """

    name: ClassVar[str]
    is_cheap: ClassVar[bool] = True
    place: ClassVar[int] = 9

    def __init__(self, config: RunConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.begin()

    def begin(self) -> None:
        """Make what documents are counted in."""

    def add(self, document: ReadDocument) -> None:
        """Look at one document; each comes once, in the order of numbers, from 0 on."""

    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        """What was found, when all documents have been added and each has its split."""
        return ()

    def facts(self, corpus: CheckedCorpus) -> dict[str, Any]:
        """Figures for the report, as plain JSON values; asked after `findings`."""
        return {}

    def table(self, facts: dict[str, Any]) -> list[list[str]]:
        """The same for a terminal, a row of column titles first; empty for none."""
        return []


CHECKS: dict[str, type[Check]] = {}
"""Every check by its name."""

_Kind = TypeVar("_Kind", bound=type[Check])


def register_check(check: _Kind) -> _Kind:
    """Register a kind of check, as a class decorator."""
    CHECKS[check.name] = check
    return check


def known_checks() -> list[type[Check]]:
    """Every check, in the order of tables."""
    from hierbert.checking import checks

    for _, name, _ in pkgutil.iter_modules(checks.__path__):
        import_module(f"hierbert.checking.checks.{name}")
    return sorted(CHECKS.values(), key=lambda check: (check.place, check.name))
