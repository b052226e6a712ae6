"""The sections of a report, one a file, in its order; a new one is a file and a line here."""

from collections.abc import Callable

from hierbert.reporting.blocks import Section
from hierbert.reporting.found import Found
from hierbert.reporting.sections.coverage import coverage
from hierbert.reporting.sections.curves import curves
from hierbert.reporting.sections.labels import labels
from hierbert.reporting.sections.lengths import lengths
from hierbert.reporting.sections.machine import machine
from hierbert.reporting.sections.mistakes import mistakes
from hierbert.reporting.sections.numbers import numbers
from hierbert.reporting.sections.overview import overview
from hierbert.reporting.sections.picks import picks
from hierbert.reporting.sections.places import places
from hierbert.reporting.sections.precision_recall import precision_recall
from hierbert.reporting.sections.reliability import reliability
from hierbert.reporting.sections.scores import scores
from hierbert.reporting.sections.settings import settings
from hierbert.reporting.sections.summaries import summaries
from hierbert.reporting.sections.tree import tree

SECTIONS: tuple[Callable[[Found], Section | None], ...] = (
    *(overview, scores, curves, labels, tree, numbers, reliability, precision_recall, coverage),
    *(lengths, places, picks, mistakes, summaries, settings, machine),
)
"""Each makes its section of what was found; None where that has nothing of the kind."""
