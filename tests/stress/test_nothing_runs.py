"""Nothing runs that was not asked for: what no line may do, and what no file may hold."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, refuse, run, succeed, write_jsonl
from conftest import make_rows
from small_models import build

from hierbert import HierBertPredictor, ModelError

FOLDERS = [ROOT / name for name in ("hierbert", "benchmarks", ".ci")]
SOURCES = [path.relative_to(ROOT) for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]
SOURCES += [Path("train.py"), Path("infer.py")]
PACKAGE = [path for path in SOURCES if path.parts[0] not in ("benchmarks", ".ci")]

FORBIDDEN_MODULES = {
    "pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code",
    "runpy", "pty",
}  # fmt: skip
FORBIDDEN_CALLS = {
    "eval", "exec", "__import__", "torch.load", "torch.jit.load", "torch.hub.load",
    "torch.package.PackageImporter", "torch.serialization.load", "os.system", "os.popen",
    "subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp", "pandas.read_pickle",
    "importlib.util.spec_from_file_location", "transformers.dynamic_module_utils",
}  # fmt: skip
YAML_CALLS = {"yaml.safe_load", "yaml.safe_dump"}
AUTO_CLASSES = re.compile(r"Auto[A-Z]\w*\.(from_pretrained|from_config)")


def names_of(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for, so that `from torch import load` is seen through."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """A dotted name as it would be without aliases; "" of what is no name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = full_name(node.value, names)
        return f"{before}.{node.attr}" if before else ""
    return ""


def complaints(source: str, in_package: bool = True) -> Iterator[tuple[str, int]]:
    """What stands in a file that may not, with its line."""
    tree = ast.parse(source)
    names = names_of(tree)
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [node.module or ""]
        for module in modules:
            if module.split(".")[0] in FORBIDDEN_MODULES:
                yield f"import {module}", node.lineno
        if not isinstance(node, ast.Call):
            continue
        called = full_name(node.func, names)
        arguments = {keyword.arg: keyword.value for keyword in node.keywords}
        if called in FORBIDDEN_CALLS:
            yield called, node.lineno
        if called.startswith("yaml.") and called[5:6].islower() and called not in YAML_CALLS:
            yield called, node.lineno
        for name, fine in (
            ("trust_remote_code", False), ("weights_only", True), ("allow_pickle", False),
            ("shell", False), ("use_safetensors", True),
        ):  # fmt: skip
            value = arguments.get(name)
            if value is not None and not (isinstance(value, ast.Constant) and value.value is fine):
                yield f"{name}={ast.unparse(value)}", node.lineno
        # Without a word, transformers asks at the terminal whether code may run.
        short = ".".join(called.split(".")[-2:])
        silent = "trust_remote_code" not in arguments and None not in arguments
        if in_package and AUTO_CLASSES.fullmatch(short) and silent:
            yield f"{short} without trust_remote_code", node.lineno
    for node in ast.walk(tree):
        # Of dictionaries that are handed on as arguments.
        if isinstance(node, ast.Dict):
            for key, item in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "trust_remote_code":
                    fine = isinstance(item, ast.Constant) and item.value is False
                    if not fine:
                        yield f"trust_remote_code: {ast.unparse(item)}", node.lineno


def test_no_line_of_the_code_runs_what_it_reads() -> None:
    assert len(SOURCES) > 100
    found = {
        (str(path), what, line)
        for path in SOURCES
        for what, line in complaints((ROOT / path).read_text("utf-8"), path in PACKAGE)
    }
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('a')",
        "import torch as t\nt.load('a')",
        "from torch import load as read\nread('a')",
        "eval('1')",
        "exec('1')",
        "import os\nos.system('a')",
        "import yaml\nyaml.load('a', yaml.Loader)",
        "from yaml import full_load\nfull_load('a')",
        "import subprocess\nsubprocess.run('a', shell=True)",
        "import subprocess\nsubprocess.run('a', shell=asked)",
        "import numpy as np\nnp.load('a', allow_pickle=True)",
        "from transformers import AutoModel\nAutoModel.from_pretrained('a')",
        "from transformers import AutoModel\nAutoModel.from_config(c, trust_remote_code=None)",
        "import transformers\ntransformers.AutoModel.from_pretrained('a', trust_remote_code=True)",
        "hub = {'trust_remote_code': True}",
        "M.from_pretrained('a', use_safetensors=False)",
    ],
)
def test_each_of_these_lines_would_be_found(line) -> None:
    assert list(complaints(line))


def test_the_code_of_this_package_is_imported_by_name_only() -> None:
    """`import_module` takes what stands in a table of the code, never what was read."""
    found = {
        ast.unparse(node)
        for path in PACKAGE
        for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
    }
    assert found == {
        "import_module(_MODULES[name])",
        "import_module(f'hierbert.cli.{name}')",
        "import_module(f'hierbert.tasks.{name}')",
    }


# Tokens.

MARKER = "hf_MarkerTokenThatNobodyMaySee0123456789"
SECRETS = {
    "HF_TOKEN": MARKER,
    "HUGGING_FACE_HUB_TOKEN": MARKER,
    "WANDB_API_KEY": MARKER,
    "AWS_SECRET_ACCESS_KEY": MARKER,
}


def holds_marker(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    return [path for path in files if MARKER.encode() in path.read_bytes()]


def test_a_token_is_in_nothing_that_is_written_or_printed(encoders, tmp_path) -> None:
    rows = write_jsonl(tmp_path / "train.jsonl", make_rows(8, seed=1))
    cache = tmp_path / "cache"
    environment = {**SECRETS, "HIERBERT_CACHE": str(cache), "HF_HOME": str(tmp_path / "home")}
    trained = run(
        "train.py", f"data.train={rows}", "data.label_column=label", f"run_dir={tmp_path / 'run'}",
        f"model.encoder={encoders['bert']}", "training.epochs=1", "training.freeze_encoder=true",
        "segmentation.max_tokens_per_segment=32", **environment,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert not holds_marker(tmp_path)
    assert MARKER not in trained.stdout + trained.stderr


def test_a_token_that_is_handed_over_is_in_no_message(monkeypatch) -> None:
    with pytest.raises(ModelError) as caught:
        HierBertPredictor.from_pretrained("user/nosuch", token=MARKER, revision="v1")
    error: BaseException | None = caught.value
    while error is not None:
        assert MARKER not in str(error)
        error = error.__cause__


# Files.


@pytest.fixture
def job(encoders: dict[str, Path], tmp_path: Path) -> list[str | Path]:
    """A job of inference but for its output."""
    for part in build(encoders["bert"]):
        part.save_pretrained(tmp_path / "model")
    documents = write_jsonl(tmp_path / "docs.jsonl", make_rows(2))
    return ["infer.py", "--model", tmp_path / "model", "--input", documents, "--output"]


def test_a_link_in_the_place_of_an_output_is_replaced_not_followed(job, tmp_path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    output = tmp_path / "out.jsonl"
    output.symlink_to(victim)
    refuse(*job, output, here=True)
    succeed(*job, output, "--overwrite", here=True)
    assert victim.read_text() == "precious"
    assert output.read_text().count("\n") == 2


def test_an_output_in_no_folder_makes_none(job, tmp_path) -> None:
    before = sorted(os.listdir(tmp_path))
    output = tmp_path / "no" / ".." / ".." / "out.jsonl"
    assert "there is no folder" in refuse(*job, output, here=True)
    assert sorted(os.listdir(tmp_path)) == before
