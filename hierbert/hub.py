"""Whether the Hugging Face Hub answers, found out in seconds before anything is asked of it.

Its clients try for half a minute, and again for each file, before they give a network up. Here one
request without a retry comes first; where it is not answered, what is in the cache is taken, and
what is not there is refused at once. Nothing of the clients' settings is changed.
"""

import os
import threading
import time
from typing import Any

from hierbert.errors import error_text

# Of names, connections and an answer together.
_SECONDS = 4.0
# So long a Hub that did not answer is not asked again.
_SECONDS_BETWEEN = 30.0
_reached: set[str] = set()
_failed: dict[str, tuple[float, str]] = {}


def hub_problem() -> str | None:
    """Why the Hub does not answer; None where it does, or where it is not to be asked.

    HF_HUB_ETAG_TIMEOUT is how long it may take to, by default 4 seconds.
    """
    # Not before it is needed: settings are read without it.
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or constants.ENDPOINT in _reached:
        return None
    at, before = _failed.get(constants.ENDPOINT, (0.0, ""))
    if before and time.monotonic() - at < _SECONDS_BETWEEN:
        return before
    seconds = float(constants.HF_HUB_ETAG_TIMEOUT)
    if seconds == constants.DEFAULT_ETAG_TIMEOUT and "HF_HUB_ETAG_TIMEOUT" not in os.environ:
        seconds = _SECONDS
    problem: list[str | None] = []
    # In a thread, for a name that is looked up, or a second address, has no time limit of its own.
    asking = threading.Thread(target=lambda: problem.append(_ask(seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    if problem == [None]:
        _reached.add(constants.ENDPOINT)
        return None
    why = problem[0] if problem else f"no answer within {seconds:g} seconds"
    text = (
        f"{constants.ENDPOINT} cannot be reached ({why}); HF_HUB_ETAG_TIMEOUT sets how many "
        "seconds it may take"
    )
    _failed[constants.ENDPOINT] = time.monotonic(), text
    return text


def _ask(seconds: float) -> str | None:
    from huggingface_hub import constants, get_session

    try:
        # Whatever the answer is, something answers.
        get_session().request("HEAD", constants.ENDPOINT, timeout=seconds)
    # The client's own errors, those of its sockets and of its proxies have no common class.
    except Exception as error:
        return error_text(error)
    return None


def cached_alone(name: str, file: str, **hub: Any) -> bool:
    """Whether a repository is to be taken from the cache, since the Hub does not answer.

    `file` is in the cache where the repository is; of `hub` the `revision`, `cache_dir` and
    `local_files_only` count. A ConnectionError where the Hub does not answer, and the file is not
    there.
    """
    if hub.get("local_files_only") or (problem := hub_problem()) is None:
        return bool(hub.get("local_files_only"))
    from huggingface_hub import try_to_load_from_cache

    of_cache = {key: hub[key] for key in ("revision", "cache_dir") if key in hub}
    try:
        found = try_to_load_from_cache(name, file, **of_cache)
    except ValueError:  # no name that a repository can have, which the clients say
        return False
    if not isinstance(found, str):
        raise ConnectionError(f"it is not in the cache, and {problem}")
    return True
