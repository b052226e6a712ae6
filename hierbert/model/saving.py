"""What a saved model has beside its weights, so that it loads where hierbert is not installed.

That is its code, file by file, and the names by which transformers finds it. This file travels with
the others, so that a model that was loaded elsewhere can be saved there too. It never touches
weights. Invariant: the same folder gives the same bytes.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers.dynamic_module_utils import get_relative_import_files

_CONFIG, _PROCESSOR, _TOKENIZER = "config.json", "processor_config.json", "tokenizer_config.json"
# What a tokenizer notes of how it was loaded here; elsewhere it is wrong.
_LOCAL_KEYS = ("is_local", "local_files_only", "name_or_path")
_HUB = ("commit_message", "commit_description", "private", "token", "revision", "create_pr")


class SavedWithCode:
    """Lets `save_pretrained` and `push_to_hub` write what loads without hierbert."""

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> Any:
        """Save as transformers does, and the code that reads it.

        Args:
            save_directory: The folder.
            push_to_hub: Whether to push it as well, to `repo_id`, else to the folder's name.
            **kwargs: Of transformers' own method, and of `push_to_hub`.

        Returns:
            What transformers' own method returns.

        Raises:
            OSError: A file cannot be written.
        """
        repo = kwargs.pop("repo_id", Path(save_directory).name)
        hub = {name: kwargs.pop(name) for name in _HUB if name in kwargs}
        saved = super().save_pretrained(save_directory, **kwargs)  # type: ignore[misc]
        if kwargs.get("is_main_process", True):
            self._let_umask_decide(Path(save_directory))
            self._save_beside(Path(save_directory))
            complete_folder(Path(save_directory))
        if push_to_hub:
            self.push_to_hub(repo, **hub)  # type: ignore[attr-defined]
        return saved

    def _let_umask_decide(self, folder: Path) -> None:
        """Who may read the weights, which safetensors writes for their owner alone."""
        if (config := folder / _CONFIG).is_file():
            for path in folder.glob("*.safetensors"):
                path.chmod(config.stat().st_mode & 0o666)

    def _save_beside(self, folder: Path) -> None:
        """Save what transformers leaves out."""


def code_files() -> dict[str, Path]:
    """The files that travel with a model, by name: this one and all that it imports."""
    paths = {Path(__file__), *map(Path, get_relative_import_files(__file__))}
    return {path.name: path for path in sorted(paths)}


def completed_files(folder: Path) -> dict[str, bytes]:
    """The files that make a model folder loadable without hierbert.

    Args:
        folder: Of a saved model, of any of hierbert's formats, or of a part of one.

    Returns:
        File name to content: the code files, and `config.json`, `processor_config.json` and
        `tokenizer_config.json` as far as the folder has them.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not JSON.
    """
    # Where transformers looks for imports it finds these too; above, they would go in a circle.
    from .configuration_hierbert import HierBertConfig
    from .modeling_hierbert import HierBertForDocuments, HierBertModel
    from .pipeline_hierbert import PIPELINES, STANDARD_PIPELINES
    from .processing_hierbert import SEGMENTATION_SETTINGS, HierBertProcessor

    classes = {
        "AutoConfig": HierBertConfig,
        "AutoModel": HierBertModel,
        "AutoModelForSequenceClassification": HierBertForDocuments,
        "AutoProcessor": HierBertProcessor,
    }
    auto_map = {name: _reference(kind) for name, kind in classes.items()}
    files = {name: path.read_bytes() for name, path in code_files().items()}
    config, processor, tokenizer = (
        json.loads((folder / name).read_bytes()) if (folder / name).is_file() else None
        for name in (_CONFIG, _PROCESSOR, _TOKENIZER)
    )
    if config is not None:
        for owner in (config, config.get("text_config")):
            if isinstance(owner, dict) and isinstance(owner.get("_name_or_path"), str):
                owner["_name_or_path"] = public_name(owner["_name_or_path"])
        # What the file lacks, as those of older formats do, is as it was when it was made.
        heads = HierBertConfig.from_dict(config).head_names
        config["auto_map"] = auto_map
        config["custom_pipelines"] = {
            task: {"impl": _reference(kind), "pt": ["AutoModelForSequenceClassification"]}
            for task, kind in (PIPELINES | STANDARD_PIPELINES).items()
            if kind._head in heads
        }
        files[_CONFIG] = _dumped(config)
    # The first format has no file for the processor.
    if processor is not None or (config is not None and tokenizer is not None):
        own = {n: v for n, v in (config or {}).items() if n in SEGMENTATION_SETTINGS}
        if not own.get("max_tokens_per_segment"):
            own.pop("max_tokens_per_segment", None)
        processor = {
            **(processor or {}),
            **own,
            "processor_class": HierBertProcessor.__name__,
            "auto_map": {"AutoProcessor": auto_map["AutoProcessor"]},
        }
        files[_PROCESSOR] = _dumped(processor)
    if tokenizer is not None:
        files[_TOKENIZER] = _dumped({k: v for k, v in tokenizer.items() if k not in _LOCAL_KEYS})
    return files


def complete_folder(folder: Path) -> None:
    """Write `completed_files` into their folder, as far as it has others.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: A file is not JSON.
    """
    for name, content in completed_files(folder).items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)


def public_name(name: str) -> str:
    """A name on the Hub as it is; of a folder its last part, marked so that it stays a folder's."""
    try:
        validate_repo_id(name)
        is_folder = os.path.isdir(name)
    except HFValidationError:
        is_folder = bool(name)
    # No name on the Hub begins so.
    return f"./{last_part(name)}" if is_folder else name


def last_part(path: str) -> str:
    """The name of a file or folder without the folders around it, of any system's paths."""
    parts = [part for part in re.split(r"[\\/]+", path) if part not in ("", ".", "..", "~")]
    return parts[-1] if parts else path


def _reference(kind: type) -> str:
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _dumped(values: dict[str, Any]) -> bytes:
    # As transformers writes its own, so that nothing but what was added differs.
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()
