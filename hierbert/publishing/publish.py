"""From a model folder to its page: files, card, what will be sent, and the push."""

import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from huggingface_hub import hf_hub_download, metadata_load
from jinja2 import TemplateError
from tqdm import tqdm

from hierbert.errors import ConfigError, ModelError
from hierbert.hub_names import check_hub_name
from hierbert.loading.encoders import resolve_encoder
from hierbert.log import log
from hierbert.publishing.card import render_card
from hierbert.publishing.files import CARD, card_bytes, files_of, load_whole
from hierbert.publishing.runs import base_model, find_run
from hierbert.publishing.upload import Request, Upload, push


def prepare(request: Request, online: bool) -> Upload:
    """Check the folder, list its files and write the card; nothing is sent.

    `online` says whether the encoder's licence may be looked up on the Hub.
    """
    model = load_whole(request.model)
    run = find_run(request.model, model.config, request.run)
    files = files_of(request.model, run)
    left_out = sorted({path.name for path in request.model.iterdir()} - files.keys())
    if request.card is not None:
        try:
            return Upload(files, request.card.read_text(encoding="utf-8"), left_out)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--card {request.card} cannot be read: {error}") from error
    base = base_model(model.config, run)
    license = request.license or (encoder_license(base, online) if base is not None else None)
    try:
        card = render_card(request.repo, model.config, model.num_parameters(), run, license)
    # What else a card is made of is checked where it is read.
    except (
        TemplateError,
        LookupError,
        AttributeError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        if run is None or run.results is None:
            raise
        raise ModelError(
            f"{run.folder / 'results.json'} is damaged or of no run of hierbert's, no card can be "
            f"made of it ({type(error).__name__}: {error}); move it away to publish without "
            "results, or name the run's folder with --run"
        ) from error
    return Upload(files, card, left_out)


def publish(request: Request, upload: Upload) -> None:
    """Push what `prepare` gave, and say what is done."""
    for line in describe(upload):
        log.info(line)
    push(upload, request)


def describe(upload: Upload) -> Iterator[str]:
    """What an upload holds, a line for each file with its size."""
    sizes = {
        path: content.stat().st_size if isinstance(content, Path) else len(content)
        for path, content in sorted({**upload.files, CARD: card_bytes(upload.card)}.items())
    }
    width = max(map(len, sizes))
    for path, size in sizes.items():
        yield f"  {path:<{width}}  {_shown(size):>8}"
    yield f"  {len(sizes)} files, {_shown(sum(sizes.values()))} together"
    if upload.left_out:
        yield f"  left out, for it is no part of the model: {', '.join(upload.left_out)}"
    if CARD in upload.left_out:
        yield f"  {CARD} in the folder is not the page's card: --card {CARD} would push it"


def _shown(size: int) -> str:
    text = tqdm.format_sizeof(size)
    number = text.rstrip("kMGT")
    return f"{number} {text.removeprefix(number)}B"


def push_command(request: Request) -> str:
    """The one command that pushes a model."""
    model = str(request.model)
    # What begins like a flag would be taken for one.
    model = f"./{model}" if model.startswith("-") else model
    words = ["python", "-m", "hierbert", "push", model, "--repo", request.repo]
    words += ["--private"] if request.private else []
    words += ["--revision", request.branch] if request.branch != "main" else []
    words += ["--license", request.license] if request.license else []
    return shlex.join(words)


def encoder_license(model: str, online: bool) -> str | None:
    """The licence that an encoder's page names, such as "apache-2.0"; None where it is not found.

    The Hub is asked only `online`, and where no card of it is on this machine.
    """
    places = [
        lambda: Path(resolve_encoder(model)) / CARD,
        lambda: hf_hub_download(model, CARD, local_files_only=True),
        lambda: hf_hub_download(model, CARD),
    ]
    for find in places if online else places[:2]:
        with suppress(Exception):
            license = (metadata_load(find()) or {}).get("license")
            if isinstance(license, str):
                # A stranger's page may say anything.
                check_hub_name("license", license)
                return license
    return None
