"""Options of a selection: declared once, and there wherever a user may look."""

import inspect

import pytest

from hierbert import HierBert, HierBertConfig
from hierbert.cli.infer import parse_options
from hierbert.config import SummaryConfig
from hierbert.errors import ConfigError
from hierbert.model.selection import Budget
from hierbert.model.selection_options import OPTIONS
from hierbert.model.summarization_head import SummarizationHead, SummaryRule

# Of checkpoints that were saved before there was an option, and of training: another value would
# change answers of models that exist.
BEFORE = {
    "order": "document",
    "min_words_per_sentence": 0,
    "redundancy": 0.0,
    "selection": "greedy",
    "include_antecedent": False,
    "keep_speaker": False,
}
TRAINED = {**BEFORE, "min_words_per_sentence": 5}
OTHERS = {
    "order": "score",
    "min_words_per_sentence": 3,
    "redundancy": 0.25,
    "selection": "knapsack",
    "include_antecedent": True,
    "keep_speaker": True,
}


def test_an_option_is_a_setting_a_field_an_argument_and_a_flag() -> None:
    assert list(BEFORE) == list(OPTIONS)
    assert {name: getattr(HierBertConfig(), f"summary_{name}") for name in OPTIONS} == BEFORE
    assert {name: getattr(SummaryConfig(), name) for name in OPTIONS} == TRAINED
    given = SummaryConfig(max_words=7, **OTHERS).model_fields
    rule = SummaryRule.from_config(HierBertConfig(**given))
    assert rule == SummaryRule(Budget(max_words=7), **OTHERS)
    rule = SummarizationHead.options(HierBertConfig(), {**OTHERS, "max_words": 7})
    assert rule == SummaryRule(Budget(max_words=7), **OTHERS)
    for method in (HierBert.summarize, HierBert.summary_rule):
        assert set(OTHERS) < set(inspect.signature(method).parameters)
        assert all(f"\n            {name}: " in method.__doc__ for name in OTHERS)
    flags = []
    for name, value in OTHERS.items():
        flag = f"--{name.replace('_', '-')}"
        flags += [flag] if value is True else [flag, str(value)]
    options = parse_options(["--model", "m", "--input", "-", "--output", "-", *flags])
    assert {name: getattr(options, name) for name in OTHERS} == OTHERS


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": "best"},
        {"redundancy": 1.5},
        {"min_words_per_sentence": 2.5},
        {"selection": "exact"},
        {"keep_speaker": "no"},
    ],
)
def test_what_an_option_cannot_be_is_refused_everywhere(wrong) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"^{name}={value!r} is not allowed: "):
        SummaryRule(Budget(max_words=5), **wrong)
    with pytest.raises(Exception, match=f"summary_{name}={value!r} is not allowed: "):
        HierBertConfig(**{f"summary_{name}": value})
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(ConfigError):
        parse_options(["--model", "m", "--input", "-", "--output", "-", flag, str(value)])
