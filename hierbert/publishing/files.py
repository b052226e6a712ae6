"""What a model folder uploads, and the checks before anything is sent.

Only files that are known to belong to a checkpoint are taken; all others are named and left out.
Invariant: nothing that unpickles is ever published, and what is published loads.
"""

import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from hierbert.errors import ModelError, error_text
from hierbert.loading.model import check_folder, load_model
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.saving import completed_files
from hierbert.publishing.runs import Run, public_settings
from hierbert.settings import dump_config

CARD = "README.md"
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
_WHOLE = re.compile(r"model\.safetensors")
_TOKENIZER = {
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt"),
    *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
}
_LEGAL = {"LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt"}
_RESULTS = "results.json"
_PICKLED_ENDINGS = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def load_whole(folder: Path) -> HierBertForDocuments:
    """The model of a folder; a ModelError where it is none, holds a pickle, or cannot be loaded."""
    check_folder(folder)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _is_pickle(path):
            raise ModelError(
                f"{path} is a pickle, or of a kind that holds pickles, whose loading runs code: "
                "take it out of the folder (weights belong into .safetensors)"
            )
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder} is not complete: tokenizer.json is missing")
    # What a stranger would meet is met here first: missing weights, damaged files.
    model, _, _ = load_model(folder, device="cpu")
    return model


def files_of(folder: Path, run: Run | None) -> dict[str, bytes | Path]:
    """What a model folder uploads beside the card, sorted by path: the bytes, or the file of them.

    Settings and results are those of the run, if any.
    """
    weights = _WHOLE if (folder / "model.safetensors").is_file() else _WEIGHTS
    found: dict[str, bytes | Path] = {
        path.name: path
        for path in folder.iterdir()
        if path.is_file() and (path.name in _TOKENIZER | _LEGAL or weights.fullmatch(path.name))
    }
    found |= completed_files(folder)
    if run is not None and run.config is not None:
        found["config.resolved.yaml"] = card_bytes(dump_config(public_settings(run.config)))
    if run is not None and run.results is not None:
        found[_RESULTS] = run.folder / _RESULTS
    return dict(sorted(found.items()))


def card_bytes(text: str) -> bytes:
    """Text as UTF-8; what cannot be written so, such as half a pair, becomes an escape."""
    return text.encode("utf-8", "backslashreplace")


def is_replaced(path: str) -> bool:
    """Whether a file of a repository is one that pushing writes, and takes away when it is over.

    Weights of another sharding would be loaded instead of the new ones, a vocabulary of another
    encoder beside its tokenizer; code and words of the author's own stay, and so do the settings
    and results of a run where only the model is there to be pushed.
    """
    return bool(_WEIGHTS.fullmatch(path)) or path in _TOKENIZER


def _is_pickle(path: Path) -> bool:
    if path.name.lower().endswith(_PICKLED_ENDINGS):
        return True
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if path.name.endswith(".safetensors"):
            # Theirs begin with a length, of which any two bytes are possible.
            with safe_open(path, "pt"):
                return False
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error_text(error)}") from error
    except SafetensorError:
        pass
    # Zip archives are how torch wraps its pickles.
    return start.startswith(_PICKLE_STARTS) or start == b"PK\x03\x04"
