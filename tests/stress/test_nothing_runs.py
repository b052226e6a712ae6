"""Nothing runs that was not asked for: what no line may do, and what no file may hold."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, refuse, run, succeed, write_jsonl
from conftest import make_rows
from small_models import build

from hierbert import HierBertPredictor, ModelError

PACKAGE = [*(ROOT / "hierbert").rglob("*.py"), ROOT / "train.py", ROOT / "infer.py"]
SOURCES = [*PACKAGE, *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / ".ci").rglob("*.py")]
# Arguments, and keys of arguments that are handed on, that may be nothing but this word.
FIXED = {
    "trust_remote_code": "False",
    "weights_only": "True",
    "allow_pickle": "False",
    "shell": "False",
    "use_safetensors": "True",
}


def complaints(source: str, in_package: bool = True) -> Iterator[str]:
    """What stands in a file that may not."""
    for node in ast.walk(ast.parse(source)):
        given: dict[str | None, ast.expr] = {}
        if isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            *_, owner, called = ["", *ast.unparse(node.func).split(".")]
            # Without a word, transformers asks at the terminal whether code may run.
            loads = owner.startswith("Auto") and called in ("from_pretrained", "from_config")
            if in_package and loads and not {"trust_remote_code", None} & given.keys():
                yield ast.unparse(node)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            given = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
        for name in FIXED.keys() & given.keys():
            if ast.unparse(given[name]) != FIXED[name]:
                yield f"{name}={ast.unparse(given[name])}"


def test_no_line_of_the_code_lets_a_library_run_what_it_reads() -> None:
    assert len(SOURCES) > 100
    for path in SOURCES:
        assert not list(complaints(path.read_text("utf-8"), path in PACKAGE)), path
    for line in (
        "subprocess.run('a', shell=True)",
        "subprocess.run('a', shell=asked)",
        "np.load('a', allow_pickle=True)",
        "AutoModel.from_pretrained('a')",
        "AutoModel.from_config(c, trust_remote_code=None)",
        "transformers.AutoModel.from_pretrained('a', trust_remote_code=True)",
        "hub = {'trust_remote_code': True}",
        "M.from_pretrained('a', use_safetensors=False)",
    ):
        assert list(complaints(line)), line


def test_ruff_refuses_what_runs_what_it_reads() -> None:
    """CI checks all files by these rules; here, that the rules are there and see through names."""
    lines = [
        "import pickle",
        "from pickle import loads",
        "import torch as t; t.load('a')",
        "from torch import load as read; read('a')",
        "eval('1')",
        "exec('1')",
        "import os; os.system('a')",
        "import yaml; yaml.load('a', yaml.Loader)",
        "from yaml import full_load",
    ]
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    for name in ("hierbert/x.py", "benchmarks/x.py", "train.py"):
        done = subprocess.run(
            [*ruff, "--stdin-filename", name, "-"],
            input="\n".join(lines), capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        found = {int(row) for row in re.findall(r":(\d+):\d+: (?:S\d+|TID251) ", done.stdout)}
        assert found == set(range(1, len(lines) + 1)), done.stdout


def test_the_code_of_this_package_is_imported_by_name_only() -> None:
    """`import_module` takes what stands in a table of the code, never what was read."""
    found = {
        ast.unparse(node)
        for path in PACKAGE
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
    }
    assert found == {
        "import_module(_MODULES[name])",
        # Those that lie in the folder of the package.
        "import_module(f'hierbert.checking.checks.{name}')",
        "import_module(f'hierbert.cli.{name}')",
        "import_module(f'hierbert.tasks.{name}')",
        "import_module(f'hierbert.tasks.{problem_type}')",
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


@pytest.mark.slow
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
