"""What the first of several processes does alone, and the others then know."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hierbert.errors import RunError

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")


def on_first_process(accelerator: "Accelerator", work: Callable[[], T]) -> T:
    """Do something on the first process, and let every process have its result or its error.

    Every process takes part, so that none waits for one that has failed. The result is pickled on
    the way.

    Raises:
        RunError: `work` raised it, on every process.
    """
    # Brings torch, which a mistake on the command line need not wait for.
    from accelerate.utils import gather_object

    outcome: tuple[T | None, str | None] = None, None
    if accelerator.is_main_process:
        try:
            outcome = work(), None
        except RunError as error:
            outcome = None, str(error)
    result, problem = gather_object([outcome])[0]
    if problem is not None:
        raise RunError(problem)
    return result
