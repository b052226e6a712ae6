"""Sentences that open with what refers to the one before."""

import pytest

from hierbert.model.antecedents import needs_the_one_before


@pytest.mark.parametrize(
    "sentence",
    [
        "However, the results differ.",
        "This is why we stopped.",
        "These results hold.",
        '"They left early."',
        "As  a\nresult, prices rose.",
        "It fell by 3 %.",
        "Such methods are slow.",
        "Then we measure it.",
        "but nobody came.",
    ],
)
def test_a_connective_or_a_pronoun_needs_it(sentence) -> None:
    assert needs_the_one_before(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "This paper shows how.",
        "In this section we say why.",
        "It is clear that prices rose.",
        "It was finally decided to stop.",
        "So far nothing has changed.",
        "Theory says otherwise.",
        "Italy and Spain agree.",
        "Thispaper",
        "Das ist gut.",
    ],
)
def test_what_stands_for_itself_does_not(sentence) -> None:
    assert not needs_the_one_before(sentence)
