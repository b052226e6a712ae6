"""What a model folder needs to be loaded by strangers: code files and what points to them.

The code of a checkpoint is that of `hierbert.model`, file by file, as far as its entry modules
import it; transformers finds it by `auto_map` and `custom_pipelines`, which
`register_for_auto_class` cannot write (it keeps one auto class a class, and none of a pipeline).
It never touches weights. Invariant: the same folder gives the same bytes.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hierbert.model
from hierbert.encoders import FOLDER_MARK, last_part
from hierbert.errors import ModelError
from hierbert.files import read_json, write_bytes
from hierbert.hub_names import is_hub_id

ENTRY_MODULES = ("modeling_hierbert", "processing_hierbert", "pipeline_hierbert")
AUTO_MAP = {
    "AutoConfig": "configuration_hierbert.HierBertConfig",
    "AutoModel": "modeling_hierbert.HierBertModel",
    "AutoModelForSequenceClassification": "modeling_hierbert.HierBertForDocuments",
    "AutoProcessor": "processing_hierbert.HierBertProcessor",
}
PIPELINES = {
    "document-classification": ("classification", "DocumentClassificationPipeline"),
    "document-summarization": ("summarization", "DocumentSummarizationPipeline"),
}
# What a tokenizer notes of how it was loaded here; elsewhere it is wrong.
_LOCAL_KEYS = ("is_local", "local_files_only", "name_or_path")


def code_files() -> dict[str, Path]:
    """The files that travel with a checkpoint.

    Returns:
        File name to path, sorted: the entry modules and all that they import as
        ``from .sibling import name``, directly or not.

    Raises:
        ModelError: A file imports from hierbert in another way, which would not travel.
    """
    folder = Path(hierbert.model.__path__[0])
    found: dict[str, Path] = {}
    waiting = list(ENTRY_MODULES)
    while waiting:
        name = waiting.pop()
        path = folder / f"{name}.py"
        if path.name not in found:
            found[path.name] = path
            waiting += _siblings(path)
    return dict(sorted(found.items()))


def _siblings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            stays = any(alias.name.split(".")[0] == "hierbert" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            stays = node.level > 1 or (node.level == 1 and (not module or "." in module))
            stays = stays or (node.level == 0 and module.split(".")[0] == "hierbert")
        else:
            continue
        if stays:
            raise ModelError(f"{path}, line {node.lineno}: only `from .sibling import` travels")
        if isinstance(node, ast.ImportFrom) and node.level:
            yield str(node.module)


def completed_files(folder: Path) -> dict[str, bytes]:
    """The files that make a model folder loadable without hierbert.

    Args:
        folder: Of a saved model, of any of hierbert's formats.

    Returns:
        File name to content: `config.json`, `processor_config.json`, `tokenizer_config.json`
        where there is one, and the code files.

    Raises:
        ModelError: `config.json` cannot be read.
    """
    config = read_json(folder / "config.json", ModelError)
    for owner in (config, config.get("text_config")):
        if isinstance(owner, dict) and isinstance(owner.get("_name_or_path"), str):
            owner["_name_or_path"] = _public_origin(owner["_name_or_path"])
    config["auto_map"] = dict(AUTO_MAP)
    config["custom_pipelines"] = {
        task: {
            "impl": f"pipeline_hierbert.{class_name}",
            "pt": ["AutoModelForSequenceClassification"],
        }
        for task, (head, class_name) in PIPELINES.items()
        if config.get(head, head == "classification")
    }
    processor: dict[str, Any] = {
        name: config[name]
        for name in ("overlap_sentences", "max_segments", "max_segments_policy", "list_unit")
        if name in config
    }
    if config.get("max_tokens_per_segment"):
        processor["max_tokens_per_segment"] = config["max_tokens_per_segment"]
    if (folder / "processor_config.json").is_file():
        processor = {**read_json(folder / "processor_config.json", ModelError), **processor}
    processor["processor_class"] = AUTO_MAP["AutoProcessor"].split(".")[1]
    processor["auto_map"] = {"AutoProcessor": AUTO_MAP["AutoProcessor"]}
    files = {"config.json": _dumped(config), "processor_config.json": _dumped(processor)}
    if (folder / "tokenizer_config.json").is_file():
        tokenizer = read_json(folder / "tokenizer_config.json", ModelError)
        for key in _LOCAL_KEYS:
            tokenizer.pop(key, None)
        files["tokenizer_config.json"] = _dumped(tokenizer)
    for name, path in code_files().items():
        files[name] = path.read_bytes()
    return files


def complete_folder(folder: Path) -> None:
    """Make a model folder loadable without hierbert, here or copied to the Hub by hand.

    Args:
        folder: Of a saved model.

    Raises:
        ModelError: `config.json` cannot be read.
        OSError: A file cannot be written.
    """
    for name, content in completed_files(folder).items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            write_bytes(path, content)


def _public_origin(name: str) -> str:
    """A name on the Hub as it is; of a folder its last part, marked so that it stays a folder's."""
    return name if not name or is_hub_id(name) else f"{FOLDER_MARK}{last_part(name)}"


def _dumped(values: dict[str, Any]) -> bytes:
    # As transformers writes its own, so that nothing but what was added differs.
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()
