"""What the tests of hostile folders share: payloads that leave a mark, and ways to damage files."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path], object]


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


def edit(**values: Any) -> Damage:
    """Set keys of config.json; dots lead into nested objects."""

    def apply(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        for name, value in values.items():
            inner, *rest = config, *name.split("__")
            for part in rest[:-1]:
                inner = inner.setdefault(part, {})
            inner[rest[-1]] = value
        path.write_text(json.dumps(config))

    return apply


def write(name: str, content: str | bytes) -> Damage:
    """Put a file into the folder, or another in its place."""

    def apply(folder: Path) -> None:
        raw = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(raw)

    return apply


def every(*damages: Damage) -> Damage:
    """One after the other."""

    def apply(folder: Path) -> None:
        for damage in damages:
            damage(folder)

    return apply


def pickles(*names: str) -> Damage:
    """Files that leave a mark when they are unpickled."""

    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).write_bytes(pickle.dumps(Payload(marker_of(folder))))

    return apply


def modules(*names: str) -> Damage:
    """Python files that leave a mark when they are imported."""

    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).write_text(code(marker_of(folder)) + "class Own: pass\n")

    return apply


def weights(change: Callable[[bytes], bytes]) -> Damage:
    """Change the bytes of model.safetensors."""

    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return apply


def header(change: Callable[[dict[str, Any]], None]) -> Damage:
    """Change the header of model.safetensors and leave its numbers as they are."""

    def apply(raw: bytes) -> bytes:
        length = int.from_bytes(raw[:8], "little")
        values = json.loads(raw[8 : 8 + length])
        change(values)
        new = json.dumps(values).encode()
        return len(new).to_bytes(8, "little") + new + raw[8 + length :]

    return weights(apply)


def instead_of(name: str, make: Callable[[Path], object]) -> Damage:
    """Something else in the place of a file."""

    def apply(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return apply


def no_number(value: float) -> Damage:
    """One number of the largest tensor that is none."""

    def apply(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        tensors = load_file(path)
        largest = max(tensors, key=lambda name: tensors[name].numel())
        tensors[largest].view(-1)[3] = value
        save_file(tensors, path, metadata={"format": "pt"})

    return apply


def sharded(*names: str) -> Damage:
    """An index that names these files in the place of model.safetensors."""

    def apply(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "kept.safetensors")
        shards = {f"weight{number}": name for number, name in enumerate(names)}
        index = {"metadata": {"total_size": 1}, "weight_map": shards}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return apply


ENDLESS = "[" * 100_000
FOREIGN_CODE = {
    "AutoConfig": "evil/repo--own.Own",
    "AutoModel": "own.Own",
    "AutoTokenizer": "own.Own",
}

# Of the weights and the configuration of any folder, a model's or an encoder's.
DAMAGED_WEIGHTS: dict[str, tuple[Damage, str]] = {
    "weights cut in the numbers": (weights(lambda raw: raw[:-100]), "damaged or not whole"),
    "weights cut in the header": (weights(lambda raw: raw[:500]), "damaged or not whole"),
    "weights of no bytes": (weights(lambda raw: b""), "damaged or not whole"),
    "weights with more bytes than said": (weights(lambda raw: raw + b"x"), "damaged or not whole"),
    "a header of 2**63 bytes": (
        weights(lambda raw: (2**63).to_bytes(8, "little") + raw[8:]),
        "damaged or not whole",
    ),
    "a header of lists in lists": (
        weights(lambda raw: (100_000).to_bytes(8, "little") + ENDLESS.encode()),
        "damaged or not whole",
    ),
    "a header that is no object": (
        weights(lambda raw: (2).to_bytes(8, "little") + b"[]"),
        "damaged or not whole",
    ),
    "a tensor of terabytes in the header": (
        header(lambda values: values[max(values)].update(shape=[10**9, 10**9])),
        "damaged or not whole",
    ),
    "a tensor of -1 rows": (
        header(lambda values: values[max(values)].update(shape=[-1, 2])),
        "damaged or not whole",
    ),
    "offsets that are text": (
        header(lambda values: values[max(values)].update(data_offsets=["0", "4"])),
        "damaged or not whole",
    ),
    "weights that are NaN": (no_number(float("nan")), "1 of the .* numbers of .* are not finite"),
    "weights that are infinite": (no_number(float("-inf")), "are not finite"),
    "weights in a folder": (
        instead_of("model.safetensors", Path.mkdir),
        r"model\.safetensors is no plain file",
    ),
    "weights in a pipe": (
        instead_of("model.safetensors", os.mkfifo),
        r"model\.safetensors is no plain file",
    ),
    "weights that link to a device": (
        instead_of("model.safetensors", lambda path: path.symlink_to("/dev/zero")),
        r"model\.safetensors is no plain file",
    ),
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
