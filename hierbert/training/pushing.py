"""The push at the end of a run: checked before it starts, and never able to lose it."""

from pathlib import Path

from hierbert.config import PublishConfig
from hierbert.errors import HierBertError, HubError
from hierbert.log import is_first_process, log
from hierbert.publishing.publish import prepare, publish, push_command
from hierbert.publishing.upload import Request, Unreachable, check_token, require_token


def check_push(settings: PublishConfig) -> None:
    """Refuse before hours of training what could not be pushed after them.

    A HubError where there is no token, or the Hub refuses it. One that cannot be reached now is
    tried again at the end.
    """
    require_token()
    if not is_first_process():
        return
    try:
        name = check_token()
    except Unreachable as error:
        log.warning(f"publish.repo={settings.repo}: {error}; it is tried again at the end")
    else:
        log.info(f"the model goes to {settings.repo} when the run is whole, as {name}")


def push_run(model: Path, settings: PublishConfig) -> None:
    """Push the saved model of a run that is whole.

    A HubError where it was not pushed says that the run is there, and the command that pushes
    again.
    """
    assert settings.repo is not None
    request = Request(
        model,
        repo=settings.repo,
        private=settings.private,
        branch=settings.revision or "main",
        license=settings.license,
    )
    try:
        publish(request, prepare(request, online=True))
    except KeyboardInterrupt:
        log.info(f"the run is whole; push it with: {push_command(request)}")
        raise
    except HierBertError as error:
        raise HubError(
            f"the run is whole in {model.parent}, but its model was not pushed: {error}. Push it "
            f"with: {push_command(request)}"
        ) from error
