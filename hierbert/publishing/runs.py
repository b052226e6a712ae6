"""The run that trained a model, as far as its page tells of it.

Invariant: what is published of the settings names files, never the folders of a machine.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hierbert.config import PublishConfig, RunConfig
from hierbert.errors import ConfigError, ModelError
from hierbert.files import read_json
from hierbert.hub_names import is_hub_id
from hierbert.log import log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.saving import last_part
from hierbert.scoring.label_baselines import LABEL_BASELINES
from hierbert.settings import load_config

_OPTIONAL = (
    *("intervals", "gain", "per_label", "budget", "summaries", "label_counts", "lengths"),
    *("resources", "environment"),
)


@dataclass(frozen=True)
class Run:
    """A run folder, or what is left of it."""

    folder: Path
    config: RunConfig | None  # Its settings; None where they cannot be read.
    results: dict[str, Any] | None  # What `results.json` holds; None where there is none.


def find_run(model: Path, config: HierBertConfig, folder: Path | None = None) -> Run | None:
    """The run of a model folder, which lies beside it unless its folder is named.

    None without traces.

    A ModelError where a named folder has neither settings nor results, or `results.json` is no
    JSON object. The model's config remembers its encoder wherever it is read.
    """
    place = model.absolute().parent if folder is None else folder
    settings, results = None, None
    resolved, path = place / "config.resolved.yaml", place / "results.json"
    if resolved.is_file():
        try:
            settings = load_config(RunConfig, resolved)
        except ConfigError as error:
            log.warning(f"{resolved} is passed over: {error}")
    if settings is not None and (encoder := config.encoder_config._name_or_path):
        settings = replace(settings, model=replace(settings.model, encoder=encoder))
    if path.is_file():
        results = read_json(path, ModelError)
    if settings is None and results is None:
        if folder is not None:
            raise ModelError(f"{folder} holds no run: config.resolved.yaml and results.json")
        return None
    return Run(place, settings, results)


def optional_results() -> list[str]:
    """Parts of results that runs of some kinds, or of older versions, have not; each an object."""
    return [*_OPTIONAL, *dict.fromkeys(baseline.name for baseline in LABEL_BASELINES)]


def public_settings(config: RunConfig) -> RunConfig:
    """Settings without the folders of this machine: files are named without them."""
    data = config.data
    files = ("train", "validation", "test", "taxonomy")
    public = {name: _public(getattr(data, name)) for name in files}
    return replace(
        config,
        data=replace(data, **public),
        run_dir=last_part(config.run_dir),
        model=replace(
            config.model,
            encoder=_public_model(config.model.encoder),
            start_from=config.model.start_from and _public_model(config.model.start_from),
        ),
        training=replace(config.training, cache_dir=None),
        # The page says itself where it is; pushed by either command it reads the same.
        publish=PublishConfig(),
    )


def corpus_name(spec: str | list[str] | None) -> str:
    """What a corpus is called: its name on the Hub or in a package, else its files' names."""
    if isinstance(spec, list):
        return ", ".join(dict.fromkeys(map(corpus_name, spec)))
    if spec is None:
        return "unknown"
    if spec.startswith("package://"):
        return spec.removeprefix("package://").partition("/")[0]
    return dataset_id(spec) or last_part(spec)


def dataset_id(spec: str | list[str] | None) -> str | None:
    """The Hub dataset that a corpus is, such as ``user/name``; None for anything else."""
    if isinstance(spec, list):
        ids = {dataset_id(item) for item in spec}
        return ids.pop() if len(ids) == 1 else None
    if spec is None:
        return None
    name = spec.removeprefix("hub://").partition("#")[0].partition(":")[0]
    if spec.startswith("hub://"):
        return name
    return name if "/" in name and is_hub_id(name) and not Path(name).suffix else None


def encoder_name(config: HierBertConfig, run: Run | None) -> str:
    """The segment encoder's name, as the checkpoint or the run has it; "" where it is unknown."""
    return _public_model(_encoder(config, run))


def base_model(config: HierBertConfig, run: Run | None) -> str | None:
    """The encoder where it is one of the Hub; None for a folder of somebody's machine."""
    name = _encoder(config, run)
    return name if is_hub_id(name) else None


def _encoder(config: HierBertConfig, run: Run | None) -> str:
    known = run.config.model.encoder if run is not None and run.config is not None else ""
    return config.encoder_config._name_or_path or known


def _public_model(name: str) -> str:
    return name if is_hub_id(name) else last_part(name)


def _public(spec: Any) -> Any:
    if isinstance(spec, list):
        return [_public(item) for item in spec]
    if spec is None or spec.startswith(("hub://", "package://")) or dataset_id(spec):
        return spec
    return last_part(spec)
