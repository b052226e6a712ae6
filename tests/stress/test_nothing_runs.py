"""Nothing runs that was not asked for: what no line may do, and what no file may hold."""

import ast
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cards import RESULTS, card_of, config_of
from commands import ROOT, run, write_jsonl
from conftest import make_rows
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from inference import infer, save_model, the_error

from hierbert import HierBertPredictor
from hierbert.errors import ModelError
from hierbert.files import write_whole
from hierbert.publishing.card import cell

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
        (str(path), ast.unparse(node))
        for path in PACKAGE
        for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
    }
    assert found == {
        ("hierbert/__init__.py", "import_module(_MODULES[name])"),
        ("hierbert/cli/main.py", "import_module(f'hierbert.cli.{name}')"),
        ("hierbert/tasks/task.py", "import_module(f'hierbert.tasks.{name}')"),
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


def test_an_unfinished_file_is_its_owners_alone_and_in_its_folder(tmp_path) -> None:
    seen = []

    def write(aside: Path) -> None:
        seen.append((aside.parent, stat.S_IMODE(aside.stat().st_mode)))
        aside.write_text("x")

    old = os.umask(0o022)
    try:
        write_whole(tmp_path / "new" / "a.json", write)
    finally:
        os.umask(old)
    assert seen == [(tmp_path / "new", 0o600)]
    assert stat.S_IMODE((tmp_path / "new" / "a.json").stat().st_mode) == 0o644
    assert os.listdir(tmp_path / "new") == ["a.json"]


def test_a_link_in_the_place_of_an_output_is_replaced_not_followed(encoders, tmp_path) -> None:
    model = save_model(tmp_path / "model", encoders["bert"])
    documents = write_jsonl(tmp_path / "docs.jsonl", make_rows(2))
    victim = tmp_path / "victim"
    victim.write_text("precious")
    output = tmp_path / "out.jsonl"
    output.symlink_to(victim)
    assert infer(model, "--input", documents, "--output", output) == 2
    assert infer(model, "--input", documents, "--output", output, "--overwrite") == 0
    assert victim.read_text() == "precious"
    assert output.read_text().count("\n") == 2


def test_an_output_in_no_folder_makes_none(encoders, tmp_path, capsys) -> None:
    model = save_model(tmp_path / "model", encoders["bert"])
    documents = write_jsonl(tmp_path / "docs.jsonl", make_rows(1))
    before = sorted(os.listdir(tmp_path))
    capsys.readouterr()
    output = tmp_path / "no" / ".." / ".." / "out.jsonl"
    assert infer(model, "--input", documents, "--output", output) == 2
    assert "there is no folder" in the_error(capsys)
    assert sorted(os.listdir(tmp_path)) == before


# The page.

HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    "</td></tr></table><img src=x onerror=alert(1)>",
    "<!-- /hierbert:labels -->",
    "a | b || c",
    "---\nlicense: evil\n---",
    "[click](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "`code` ```\n# Title",
    "&lt;b&gt; &amp;",
    "{{ 7 * 7 }} {% raw %}",
    "\ud800 half",
    "x" * 500,
    "\u202e right to left",
    "line\u2028separator\x85and\x0bothers",
]


def test_a_page_shows_hostile_labels_as_text() -> None:
    names = [f"{number} {name}" for number, name in enumerate(HOSTILE_NAMES)]
    rows = [
        {"label": name, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2} for name in names
    ]
    size = len(names)
    results = {
        **RESULTS,
        "per_label": {"labels": rows, "confusion": [[1] * size] * size},
        "label_counts": dict.fromkeys(names, 3),
        "environment": {"<script>": "<script>", "torch": "2 | <b>"},
        "resources": {**RESULTS["resources"], "device": "<img src=x onerror=alert(1)>"},
        "lengths": {"<script>": RESULTS["lengths"]["train"]},
        "summaries": {
            **RESULTS["summaries"],
            "systems": {"<script>": RESULTS["summaries"]["systems"]["LexRank"]},
        },
    }
    card = card_of(results, config_of(names))
    plain = card_of(results, config_of([f"l{number}" for number in range(size)]))
    outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", card)
    tags = [set(re.findall(r"<[^>\s]*", page)) for page in (outside, plain)]
    assert tags[0] <= tags[1], "no tag of HTML but the page's own"
    assert not any("script" in tag or "img" in tag for tag in tags[1])
    for mark in re.findall(r"<!-- [^>]* -->", plain):
        assert card.count(mark) == plain.count(mark)
    assert not re.search(r"(?<!\\)\]\((javascript|http://evil)", card), "no link"
    assert "{{ 7 \\* 7 }}" in card, "a template would have made 49 of it"
    # Tables keep their columns, and the metadata is what it is without the labels.
    for block in re.findall(r"(?m)(?:^\|.*\n)+", outside):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    assert yaml.safe_load(card.split("---\n")[1]) == yaml.safe_load(plain.split("---\n")[1])
    assert ModelCard(card).data.license == "apache-2.0"


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60) | st.lists(st.sampled_from([*"<>&|`[]()!#*_\\\n-~$:/ ab"])).map("".join)
)
def test_any_text_in_a_cell_is_one_line_without_a_live_sign(text) -> None:
    shown = cell(text)
    assert len(shown.splitlines()) <= 1 and "<" not in shown and ">" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`\[\]]", shown)
