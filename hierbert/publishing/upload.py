"""A model folder to the Hub in one commit, with every mistake answered in one line.

Large files are stored before the commit; what was stored stays, so that the same command goes on
after an interruption. `create_commit` leaves out what has not changed. Tokens are
huggingface_hub's own affair: they are looked for and handed on, never shown or written.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelInfo,
    constants,
    get_token,
)
from huggingface_hub.errors import HfHubHTTPError

from hierbert.errors import HierBertError, HubError, error_text
from hierbert.hub import hub_problem
from hierbert.log import log
from hierbert.publishing.card_merge import merge_cards
from hierbert.publishing.files import CARD, card_bytes, is_replaced

_MAIN = "main"
_SAME = "nothing has changed"
_NETWORK = ("httpx", "httpx2", "httpcore", "requests", "urllib3")


@dataclass(frozen=True)
class Request:
    """What to publish, and where."""

    model: Path
    repo: str  # user/name.
    private: bool = False  # Whether a new repository is private.
    branch: str = _MAIN  # The branch to commit to; it is made where it is missing.
    message: str = "Upload model with hierbert"  # Of the commit.
    run: Path | None = None  # The run's folder; None looks beside the model.
    # Of the model, which a card that is there gets too; None takes the encoder's, and leaves the
    # card its own.
    license: str | None = None
    card: Path | None = None  # A card of the author's own, which is uploaded as it is.
    # Whether a card that is there is replaced; else its author's words stay.
    overwrite_card: bool = False


@dataclass(frozen=True)
class Upload:
    """What is sent for a request."""

    files: dict[str, bytes | Path]  # All files but the card, as `files_of` gives them.
    card: str  # As rendered, or as its author wrote it.
    left_out: list[str]  # Names of what lies in the model's folder and stays there.


class Unreachable(HubError):
    """The Hub did not answer."""


def require_token() -> str:
    """The user's token, without asking the network whether it is good.

    A HubError where there is none.
    """
    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it")
    token = get_token()
    if not token:
        raise HubError(
            "there is no Hub token here: run `hf auth login`, or set HF_TOKEN to one with write "
            "access (https://huggingface.co/settings/tokens)"
        )
    return token


def _require_hub() -> None:
    """Refuse (Unreachable) within seconds what the clients would try for half a minute."""
    if problem := hub_problem():
        raise Unreachable(f"{problem}; nothing was uploaded: the same command goes on")


def check_token() -> str:
    """The name of the token's user, by the Hub; a HubError where it is refused or not reached."""
    token = require_token()
    _require_hub()
    try:
        return str(HfApi(token=token).whoami()["name"])
    except Exception as error:
        raise _explained(error, "the token", token) from error


def push(upload: Upload, request: Request) -> None:
    """Make a repository hold the model of an upload and no other, and its card; say what changed.

    A HubError where the token is missing or refused, the Hub cannot be reached, the repository is
    public though private was asked for, or someone else committed meanwhile.
    """
    token, repo = require_token(), request.repo
    _require_hub()
    api = HfApi(token=token)
    try:
        before = _open_repository(api, request)
        there, old = _blobs(before), None
        if CARD in there and not request.overwrite_card and request.card is None:
            old = Path(api.hf_hub_download(repo, CARD, revision=before.sha)).read_bytes()
        contents = {**upload.files, CARD: _merged(upload.card, old, request.license)}
        gone = [path for path in sorted(there) if path not in contents and is_replaced(path)]
        if gone:
            log.info(f"deleted there, for it would be read beside the new model: {', '.join(gone)}")
        # Of these only the files that differ from those there are sent; no commit, where none does.
        made = api.create_commit(
            repo,
            [
                *(CommitOperationAdd(path, content) for path, content in contents.items()),
                *(CommitOperationDelete(path) for path in gone),
            ],
            commit_message=request.message,
            revision=request.branch,
            # Refused where someone else has committed since the card was merged.
            parent_commit=before.sha,
        )
        url = f"{api.endpoint}/{repo}"
        if request.branch != _MAIN:
            url += f"/tree/{request.branch}"
        after = _blobs(api.model_info(repo, revision=made.oid, files_metadata=True))
        changed = [*gone, *(path for path in contents if after.get(path) != there.get(path))]
        log.info(f"pushed {len(changed):,} changed files: {url}" if changed else f"{_SAME}: {url}")
    except HierBertError:
        raise
    # Besides its own errors, huggingface_hub passes on those of the network and of Xet.
    except Exception as error:
        raise _explained(error, repo, token) from error


def _blobs(info: ModelInfo) -> dict[str, str | None]:
    """The files of a repository, and git's ids of their contents."""
    return {file.rfilename: file.blob_id for file in info.siblings or ()}


def _open_repository(api: HfApi, request: Request) -> ModelInfo:
    """The newest commit of the branch; the repository and the branch are made where missing."""
    api.create_repo(request.repo, private=request.private, exist_ok=True)
    if request.private and not api.model_info(request.repo).private:
        raise HubError(
            f"{request.repo} is public, and a private page was asked for: make it private on the "
            "Hub first, or push without asking for private"
        )
    if request.branch != _MAIN:
        api.create_branch(request.repo, branch=request.branch, exist_ok=True)
    return api.model_info(request.repo, revision=request.branch, files_metadata=True)


def _merged(card: str, old: bytes | None, license: str | None) -> bytes:
    if old is None:
        return card_bytes(card)
    try:
        merged = merge_cards(card, old.decode(), license)
    except UnicodeDecodeError:
        log.info("the card there is kept as it is: it is not UTF-8")
        return old
    if merged.note:
        log.info(merged.note)
    return card_bytes(merged.text)


def _explained(error: BaseException, what: str, token: str) -> HubError:
    """What went wrong, in a line that says what to do and never holds the token."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    answered = next((e for e in chain if isinstance(e, HfHubHTTPError)), None)
    if answered is not None and answered.response is not None:
        status = answered.response.status_code
        told = error_text(answered.server_message or answered, token)
        again = "; push again to go on" if status == 429 or status >= 500 else ""
        return HubError(
            {
                401: "the Hub refuses this token (401): it is wrong or has ended; run "
                "`hf auth login`, or set HF_TOKEN to a new one",
                403: f"the Hub does not let this token write {what} (403): {told}; it needs write "
                "access, and the name before the / must be yours or your organization's",
                412: f"{what} was changed by someone else in the meantime; push again to go on",
            }.get(status, f"the Hub answered {status} for {what}: {told}{again}")
        )
    for cause in chain:
        if type(cause).__module__.split(".")[0] in _NETWORK or isinstance(
            cause, ConnectionError | TimeoutError
        ):
            place = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
            return Unreachable(
                f"{place} cannot be reached, or the connection broke off "
                f"({error_text(cause, token)}); what was uploaded stays: the same command goes on"
            )
    return HubError(f"{what} cannot be pushed: {error_text(error, token)}")
