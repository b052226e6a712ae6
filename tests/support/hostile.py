"""What the tests of hostile folders share: payloads that leave a mark, and ways to damage files."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

Damage = Callable[[Path], object]
P = ParamSpec("P")


class Payload:
    """Unpickling this makes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def code(marker: Path) -> str:
    """A module that makes the marker when it is imported."""
    return f"import os\nos.makedirs({str(marker)!r}, exist_ok=True)\n"


def marker_of(folder: Path) -> Path:
    """Where the payloads of a folder leave their mark."""
    return folder.parent / "it-ran"


def damage(change: Callable[Concatenate[Path, P], object]) -> Callable[P, Damage]:
    """Let a function of a folder and more be called with what is more, for a folder to come."""

    def with_parameters(*args: P.args, **kwargs: P.kwargs) -> Damage:
        return lambda folder: change(folder, *args, **kwargs)

    return with_parameters


@damage
def edit(folder: Path, **values: Any) -> None:
    """Set keys of config.json; double underscores lead into nested objects."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, value in values.items():
        inner, (*outer, last) = config, name.split("__")
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    path.write_text(json.dumps(config))


@damage
def write(folder: Path, name: str, content: str | bytes) -> None:
    """Put a file into the folder, or another in its place."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


@damage
def every(folder: Path, *damages: Damage) -> None:
    """One after the other."""
    for one in damages:
        one(folder)


@damage
def pickles(folder: Path, *names: str) -> None:
    """Files that leave a mark when they are unpickled."""
    for name in names:
        (folder / name).write_bytes(pickle.dumps(Payload(marker_of(folder))))


@damage
def modules(folder: Path, *names: str) -> None:
    """Python files that leave a mark when they are imported."""
    for name in names:
        (folder / name).write_text(code(marker_of(folder)) + "class Own: pass\n")


@damage
def weights(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of model.safetensors."""
    path = folder / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))


def tensor(**values: Any) -> Damage:
    """Change what the header of model.safetensors says of its last tensor, not the numbers."""

    def change(raw: bytes) -> bytes:
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        header[max(header)].update(values)
        new = json.dumps(header).encode()
        return len(new).to_bytes(8, "little") + new + raw[8 + length :]

    return weights(change)


@damage
def instead_of(folder: Path, name: str, make: Callable[[Path], object]) -> None:
    """Something else in the place of a file."""
    (folder / name).unlink()
    make(folder / name)


@damage
def no_number(folder: Path, value: float) -> None:
    """One number of the largest tensor that is none."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    max(tensors.values(), key=lambda one: one.numel()).view(-1)[3] = value
    save_file(tensors, path, metadata={"format": "pt"})


@damage
def sharded(folder: Path, *names: str) -> None:
    """An index that names these files in the place of model.safetensors."""
    (folder / "model.safetensors").rename(folder / "kept.safetensors")
    shards = {f"weight{number}": name for number, name in enumerate(names)}
    index = {"metadata": {"total_size": 1}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


ENDLESS = "[" * 100_000
FOREIGN_CODE = {
    "AutoConfig": "evil/repo--own.Own",
    "AutoModel": "own.Own",
    "AutoTokenizer": "own.Own",
}

NOT_WHOLE = {
    "cut in the numbers": weights(lambda raw: raw[:-100]),
    "cut in the header": weights(lambda raw: raw[:500]),
    "with more bytes than said": weights(lambda raw: raw + b"x"),
    "with a header of 2**63 bytes": weights(lambda raw: (2**63).to_bytes(8, "little") + raw[8:]),
    "with a header of lists in lists": weights(
        lambda raw: (100_000).to_bytes(8, "little") + ENDLESS.encode()
    ),
    "with a tensor of terabytes": tensor(shape=[10**9, 10**9]),
}
NO_FILE = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
}

# Of the weights and the configuration of any folder, a model's or an encoder's.
DAMAGED_WEIGHTS: dict[str, tuple[Damage, str]] = {
    **{f"weights {name}": (one, "damaged or not whole") for name, one in NOT_WHOLE.items()},
    **{
        f"{name} for weights": (
            instead_of("model.safetensors", make),
            r"model\.safetensors is no plain file",
        )
        for name, make in NO_FILE.items()
    },
    "weights that are NaN": (no_number(float("nan")), "1 of the .* numbers of .* are not finite"),
    "weights that are infinite": (no_number(float("-inf")), "are not finite"),
    "an index of pickles": (
        every(pickles("model-1.bin"), sharded("model-1.bin")),
        r"index\.json names 'model-1\.bin'",
    ),
    "an index that leaves the folder": (
        sharded("kept.safetensors", "../elsewhere.safetensors"),
        r"index\.json names '\.\./elsewhere\.safetensors'",
    ),
    "an index of another place": (sharded("/etc/a.safetensors"), "names '/etc/a.safetensors'"),
    "an index of nothing": (sharded(), "names None"),
    "an index of a missing shard": (sharded("model-2.safetensors"), "model-2.safetensors is missi"),
    "an adapter": (
        write("adapter_config.json", '{"base_model_name_or_path": "evil/b"}'),
        "adapter",
    ),
    "a distributed checkpoint": (
        write("shard-00000-model-00001-of-00001.safetensors", b"x"),
        "is of a distributed checkpoint",
    ),
    "other weights by name": (
        edit(transformers_weights="other.bin"),
        "transformers_weights names the file of its weights, which is not allowed",
    ),
    "code of the Hub for attention": (
        edit(attn_implementation="evil/kernel"),
        "attn_implementation='evil/kernel' is not allowed; choose from eager",
    ),
    "code of the Hub behind a mark": (
        edit(_attn_implementation="paged|evil/kernel:f"),
        "_attn_implementation='paged|evil/kernel:f' is not allowed".replace("|", r"\|"),
    ),
    "quantized weights": (edit(quantization_config={"quant_method": "gptq"}), "quantized weights"),
    "a config of lists in lists": (write("config.json", ENDLESS), r"config\.json cannot be read"),
    "a config in a pipe": (instead_of("config.json", os.mkfifo), "config.json"),
    "a config of 65 MiB": (
        instead_of("config.json", lambda path: (path.touch(), os.truncate(path, 65 << 20))),
        "at most 64 MiB are read",
    ),
    "a config of other bytes": (write("config.json", b"\xff\xfe\x00"), "cannot be read"),
    "a number of 5000 digits": (
        write("config.json", '{"model_type": "hierbert", "x": %s}' % ("9" * 5000)),
        "cannot be read",
    ),
}
