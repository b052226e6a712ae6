"""What may be chosen of a selection: each option is declared here, and nowhere else.

Settings of training, fields of a checkpoint (`summary_` and the name), arguments of
`HierBert.summarize`, flags of commands, and their checks are made of the fields of
`SelectionOptions`. Another option is a field more, and its code where `SummaryRule` selects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, make_dataclass
from typing import Any, Literal, get_args, get_origin

_RANGES = {"at_least": "at least {:g}", "at_most": "at most {:g}"}


def _option(
    before: Any, help: str, *, default: Any = None, tried: Sequence[Any] = (), **bounds: float
) -> Any:
    """Declare an option.

    Args:
        before: What is meant where nothing is said: by a checkpoint that was saved before there was
            this option, or by a `SummaryRule`.
        help: One sentence or two, for a setting and a flag alike.
        default: That of training; None for `before`.
        tried: Values that training tries where it is to choose.
        **bounds: `at_least` and `at_most` of a number.
    """
    default = before if default is None else default
    facts = {"help": help, "default": default, "tried": tried, "bounds": bounds}
    return field(default=before, metadata=facts)


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """How scored sentences are selected within a budget; defaults are those of old checkpoints.

    Raises:
        ValueError: A value is not allowed.
    """

    order: Literal["document", "score"] = _option("document", "Order of a summary's sentences.")
    min_words_per_sentence: int = _option(
        0,
        "Shorter sentences, such as headings, are selected only where there is no longer one.",
        default=5,
        tried=(0, 5, 8, 12, 16),
        at_least=0,
    )
    redundancy: float = _option(
        0.0,
        "Maximal marginal relevance: up to 1, avoid sentences alike.",
        tried=(0.0, 0.3, 0.5, 0.7),
        at_least=0,
        at_most=1,
    )
    selection: Literal["greedy", "knapsack"] = _option(
        "greedy",
        "greedy takes the best sentences in turn; knapsack those that fill the limit best: each "
        "word, or what else is counted, has its sentence's score, and the sum is the greatest.",
        tried=("greedy", "knapsack"),
    )
    include_antecedent: bool = _option(
        False,
        "Select a sentence that opens with what refers to the one before (However, This, They; "
        "English) together with that, or not at all.",
    )
    keep_speaker: bool = _option(
        False,
        "Where the lines of a document are turns (Anna: Good morning.), put the speaker's name "
        "before the later sentences of a turn too.",
    )

    def __post_init__(self) -> None:
        for option in fields(SelectionOptions):
            check_option(option, getattr(self, option.name), option.name)


OPTIONS: Mapping[str, Field] = {option.name: option for option in fields(SelectionOptions)}
"""The fields of `SelectionOptions` by name."""


def choices_of(option: Field) -> tuple[Any, ...]:
    """What an option may be, where that is one of a few texts; else nothing."""
    return get_args(option.type) if get_origin(option.type) is Literal else ()


def allowed_of(option: Field) -> str:
    """What an option may be, in words."""
    if choices := choices_of(option):
        return f"choose from {', '.join(choices)}"
    if option.type is bool:
        return "true or false"
    own = option.metadata["bounds"]
    bounds = [_RANGES[name].format(end) for name, end in own.items()]
    if own.keys() == _RANGES.keys():
        bounds = ["{at_least:g} to {at_most:g}".format(**own)]
    return ", ".join(["a whole number" if option.type is int else "a number", *bounds])


def check_option(option: Field, value: Any, name: str) -> None:
    """Refuse (ValueError) what an option cannot be; `name` is what the message calls it."""
    if choices := choices_of(option):
        is_allowed = value in choices
    elif option.type is bool:
        is_allowed = isinstance(value, bool)
    else:
        kinds = int if option.type is int else (int, float)
        bounds = option.metadata["bounds"]
        is_allowed = (
            isinstance(value, kinds)
            and not isinstance(value, bool)
            and bounds.get("at_least", value) <= value <= bounds.get("at_most", value)
        )
    if not is_allowed:
        raise ValueError(f"{name}={value!r} is not allowed: {allowed_of(option)}")


SavedOptions = make_dataclass(
    "SavedOptions",
    # A checkpoint is checked as the options are: other types than these would answer first.
    [(f"summary_{name}", Any, field(default=own.default)) for name, own in OPTIONS.items()],
    kw_only=True,
)
"""The options as fields of a checkpoint's configuration."""
