"""Names on the Hub: which a model, a branch and a licence may have, and which are the Hub's."""

import os
import re

from hierbert.errors import not_allowed

_PART = r"(?![^/]*(?:--|\.\.))[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?(?<!\.git)"
_HUB_ID = re.compile(f"{_PART}(?:/{_PART})?")
_ALLOWED = {
    "repo": (
        re.compile(f"{_PART}/{_PART}"),
        "user/name, of you or an organization of yours, each part of at most 96 letters a-z, "
        "digits, and . _ - inside it, without -- or .., not ending in .git",
    ),
    # What git allows in a branch's name, without the rarer half of it; no id of a commit.
    "revision": (
        re.compile(
            r"(?![0-9a-f]{40}\Z)(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._/-]{0,198}(?<![./])(?<!\.lock)"
        ),
        "a branch, not a commit, of letters a-z, digits, and . _ - / inside it, without ..",
    ),
    "license": (
        re.compile(r"[a-z0-9][a-z0-9.-]{0,60}"),
        "an identifier such as apache-2.0, mit, cc-by-4.0 or other "
        "(https://huggingface.co/docs/hub/repositories-licenses)",
    ),
}


def check_hub_name(kind: str, name: str) -> None:
    """Refuse (ConfigError) what cannot be a model's name, a branch or a licence on the Hub.

    The kind is "repo", "revision" or "license", as the setting of `publish` that holds the name.
    """
    pattern, allowed = _ALLOWED[kind]
    if not pattern.fullmatch(name):
        raise not_allowed(f"publish.{kind}", name, allowed)


def is_hub_id(name: str) -> bool:
    """Whether a name can only be meant for the Hub: of its form, and nothing of that name here."""
    return bool(_HUB_ID.fullmatch(name)) and not os.path.exists(os.path.expanduser(name))
