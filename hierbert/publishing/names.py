"""Names on the Hub: which are allowed for a model, and which are those of Hub repositories."""

import os
import re

from hierbert.errors import ConfigError

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REPO = re.compile(f"{_PART}/{_PART}")
_HUB_ID = re.compile(f"{_PART}(?:/{_PART})?")
# What git allows in a branch's name, without the rarer half of it.
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,198}")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_repo(name: str, field: str) -> None:
    """Refuse what cannot be the name of a model on the Hub.

    Args:
        name: As the user wrote it.
        field: The setting or flag that holds it, for the message.

    Raises:
        ConfigError: It is not of the form user/name, or has characters that are not allowed.
    """
    if "/" not in name:
        raise ConfigError(
            f"{field}={name!r} is not allowed: a model's name has the form user/name, with your "
            "user name or an organization of yours"
        )
    is_odd = "--" in name or ".." in name or name.endswith(".git")
    if is_odd or not _REPO.fullmatch(name) or any(len(p) > 96 for p in name.split("/")):
        raise ConfigError(
            f"{field}={name!r} is not allowed: the form is user/name, each part of at most 96 "
            "letters a-z, digits, and . _ - inside it, without -- or .., not ending in .git"
        )


def check_branch(name: str, field: str) -> None:
    """Refuse what cannot be a branch to push to.

    Args:
        name: As the user wrote it.
        field: The setting or flag that holds it, for the message.

    Raises:
        ConfigError: It is the id of a commit, or no name of a branch.
    """
    if _COMMIT.fullmatch(name):
        raise ConfigError(f"{field}={name} is a commit; models are pushed to a branch: give a name")
    if not _BRANCH.fullmatch(name) or ".." in name or name.endswith((".", "/", ".lock")):
        raise ConfigError(
            f"{field}={name!r} is not allowed: a branch has letters a-z, digits, and . _ - / "
            "inside it, without .."
        )


def check_license(name: str, field: str) -> None:
    """Refuse what is no licence identifier of the Hub's, such as ``apache-2.0``.

    Args:
        name: As the user wrote it.
        field: The setting or flag that holds it, for the message.

    Raises:
        ConfigError: It has other characters than identifiers have.
    """
    if not _LICENSE.fullmatch(name):
        raise ConfigError(
            f"{field}={name!r} is not allowed: an identifier such as apache-2.0, mit, cc-by-4.0 or "
            "other (https://huggingface.co/docs/hub/repositories-licenses)"
        )


def is_hub_id(name: str) -> bool:
    """Whether a name can only be meant for the Hub: of its form, and nothing of that name here."""
    if not _HUB_ID.fullmatch(name) or "--" in name or ".." in name or name.endswith(".git"):
        return False
    return not os.path.exists(os.path.expanduser(name))
