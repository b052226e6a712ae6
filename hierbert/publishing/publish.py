"""From a model folder to its page: plan, card, what will be sent, and the push."""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import yaml
from huggingface_hub import HfApi, metadata_load, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from jinja2 import TemplateError
from safetensors import safe_open
from tqdm import tqdm

from hierbert.errors import ConfigError, HierBertError, ModelError
from hierbert.loading.encoders import resolve_encoder
from hierbert.log import log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.publishing.card import CardSource, render_card
from hierbert.publishing.files import CARD, Upload, card_bytes, plan_upload
from hierbert.publishing.runs import base_model, find_run
from hierbert.publishing.upload import Request, push, require_token


def prepare(request: Request, online: bool) -> tuple[Upload, str]:
    """Check the folder, list its files and write the card; nothing is sent.

    Args:
        request: What to publish.
        online: Whether the encoder's licence may be looked up on the Hub.

    Raises:
        ModelError: It is no model that can be published.
        ConfigError: The card of the author's own cannot be read.
    """
    run = find_run(request.model, request.run)
    upload = plan_upload(request.model, run)
    if request.card is not None:
        try:
            return upload, request.card.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--card {request.card} cannot be read: {error}") from error
    config = HierBertConfig.from_pretrained(request.model)
    base = base_model(config, run)
    license = request.license
    if license is None and base is not None:
        license = encoder_license(base, online)
    source = CardSource(request.repo, config, _count_weights(upload), run, license)
    try:
        return upload, render_card(source)
    # What a card is made of is checked but for the inner parts of the results.
    except (TemplateError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if run is None or run.results is None:
            raise
        raise ModelError(
            f"{run.folder / 'results.json'} is damaged, no card can be made of it "
            f"({type(error).__name__}: {error}); move it away to publish without results"
        ) from error


def publish(request: Request, prepared: tuple[Upload, str] | None = None) -> None:
    """Push a model folder and say what is done.

    Args:
        request: What to publish.
        prepared: As `prepare` gave it for this request; None prepares it here.

    Raises:
        HierBertError: A mistake in the folder, the token or the name, in one line.
    """
    require_token()
    upload, card = prepared or prepare(request, online=True)
    for line in describe(upload, card):
        log.info(line)
    push(upload, card, request)


def describe(upload: Upload, card: str) -> Iterator[str]:
    """What an upload holds, a line for each file with its size."""
    sizes = {
        path: content.stat().st_size if isinstance(content, Path) else len(content)
        for path, content in sorted({**upload.contents, CARD: card_bytes(card)}.items())
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
    model = f'"{request.model}"' if " " in str(request.model) else str(request.model)
    words = ["python -m hierbert.publishing", model, "--repo", request.repo]
    words += ["--private"] if request.private else []
    words += ["--revision", request.branch] if request.branch != "main" else []
    words += ["--license", request.license] if request.license else []
    return " ".join(words)


def _count_weights(upload: Upload) -> int:
    count = 0
    for path, content in upload.contents.items():
        if path.endswith(".safetensors"):
            with safe_open(content, "pt") as weights:
                names = weights.keys()
                count += sum(math.prod(weights.get_slice(name).get_shape()) for name in names)
    return count


def encoder_license(model: str, online: bool) -> str | None:
    """The licence that an encoder's page names, such as "apache-2.0"; None where it is not found.

    Args:
        model: Name on the Hub.
        online: Whether the Hub may be asked, where no card of it is on this machine.
    """
    places = []
    with suppress(HierBertError):
        places.append(Path(resolve_encoder(model)) / CARD)
    with suppress(HFValidationError):
        if isinstance(cached := try_to_load_from_cache(model, CARD), str):
            places.append(Path(cached))
    for path in places:
        with suppress(OSError, ValueError, yaml.YAMLError):
            if isinstance(found := (metadata_load(path) or {}).get("license"), str):
                return found
    if online:
        with suppress(Exception):
            found = getattr(HfApi().model_info(model, timeout=10).card_data, "license", None)
            return found if isinstance(found, str) else None
    return None
