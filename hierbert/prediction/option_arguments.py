"""Options of a selection as arguments of a method: in its signature and in its documentation."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from hierbert.model.selection_options import OPTIONS, allowed_of

Method = TypeVar("Method", bound=Callable[..., Any])


def takes_selection_options(method: Method) -> Method:
    """Name what ``**selection`` of a method takes in its signature and its docstring's Args."""
    signature = inspect.signature(method)
    kind = inspect.Parameter.KEYWORD_ONLY
    names = [
        inspect.Parameter(name, kind, default=None, annotation=option.type)
        for name, option in OPTIONS.items()
    ]
    parameters = [*signature.parameters.values()]
    place = next(i for i, one in enumerate(parameters) if one.kind is one.VAR_KEYWORD)
    parameters[place : place + 1] = names
    method.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    # Python may be told to keep no docstrings.
    lines = (method.__doc__ or "").split("\n")
    for place in [i for i, line in enumerate(lines) if line.lstrip().startswith("**selection:")]:
        margin = lines[place].partition("*")[0]
        lines[place : place + 1] = [
            f"{margin}{name}: {option.metadata['help']} {allowed_of(option).capitalize()}; "
            "None for the model's own."
            for name, option in OPTIONS.items()
        ]
    method.__doc__ = "\n".join(lines)
    return method
