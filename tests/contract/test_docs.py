"""What README and docs show works: Python blocks run, commands parse, and most of them run too.

Blocks run in the order of their page, in a folder that has what they name: small models, documents
and the configs. Encoders are small ones here, epochs one. A block that is not run has the reason
before it, ``<!-- not run: why -->``; its commands and its Python are checked all the same.
"""

import csv
import gzip
import importlib
import itertools
import json
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import ROOT, flags, parser, succeed, write_jsonl
from conftest import make_rows
from small_runs import printed_config

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
FLAG = r"(?<![\w-])--[a-z][a-z_-]*"
# What is only shown, and what Sphinx reads.
SHOWN = {"json", "yaml", "text", "{toctree}", "{include}", "{eval-rst}"}
COMMANDS = {"train.py": "train.py", "infer.py": "infer.py", "hierbert.publishing": "hierbert-push"}
COMMANDS |= {
    f"hierbert-{name}": f"hierbert-{name}"
    for name in ["train", "infer", "summarize", "check", "evaluate", "report", "taxonomy", "push"]
}
# Whose own manuals say what they take.
OTHERS = {"accelerate", "bash", "cat", "git", "head", "hf", "mypy", "pip", "pytest", "ruff"}
OTHERS |= {"sphinx-build", "tensorboard", "torchrun"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins at, why it is not run."""

    language: str
    text: str
    line: int
    not_run: str | None


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = path.read_text(encoding="utf-8").split("\n")
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith("```")]
    for start, end in zip(fences[::2], fences[1::2], strict=True):
        mark = re.fullmatch(r"\s*<!-- not run: (.+) -->", lines[start - 1]) if start else None
        language, *_ = lines[start].strip().removeprefix("```").split() or [""]
        indent = len(lines[start]) - len(lines[start].lstrip())
        text = "\n".join(line[indent:] for line in lines[start + 1 : end])
        yield Block(language, text, start + 1, mark and mark[1])


@dataclass(frozen=True)
class Command:
    """One command of a block: its words, what it reads from, whether several processes run it."""

    words: list[str]
    stdin: str | None = None
    several: bool = False

    @property
    def own(self) -> tuple[str, list[str]] | None:
        """A script or command of this repository and its arguments; None for what is another's."""
        words = self.words
        if words[0] == "python":
            words = words[2:] if words[1] == "-m" else words[1:]
        elif words[0] in ("torchrun", "accelerate"):
            ends = (i for i, word in enumerate(words) if word.endswith(".py") or word == "-m")
            words = words[next(ends) :]
            words = words[1:] if words[0] == "-m" else words
        elif words[0] in OTHERS:
            return None
        name, arguments = words[0], words[1:]
        if name == "hierbert":
            name, arguments = f"hierbert-{arguments[0]}", arguments[1:]
        if name in COMMANDS:
            return COMMANDS[name], arguments
        if name.startswith("benchmarks."):
            name = name.replace(".", "/") + ".py"
        assert (ROOT / name).is_file(), f"{name}: no such command"
        return name, arguments


def commands(text: str) -> Iterator[Command]:
    """The commands of a block of shell, without redirections and settings of the environment."""
    for line in text.replace("\\\n", " ").split("\n"):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&>")
        lexer.whitespace_split = True
        words, stdin = [], None
        for word in [*lexer, "&&"]:
            if word not in ("&&", "|"):
                words.append(word)
                continue
            if ">" in words:
                words = words[: words.index(">")]
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            if words and words[0] == "cat":
                stdin = words[1]
            elif words and words[0] != "head":
                yield Command(words, stdin, words[0] in ("torchrun", "accelerate"))
            words = []


def check(command: Command) -> None:
    """Refuse a command that its own parser refuses, or that names what is not there."""
    own = command.own
    if own is None:
        check_other(command.words)
    elif own[0] in ("train.py", "hierbert-train"):
        extra = [] if "--print-config" in own[1] else ["--print-config"]
        succeed("train.py", *own[1], *extra, here=True)
    else:
        _, rest = parser(own[0]).parse_known_args(own[1])
        # It gives settings on to train.py.
        settings = own[0] in ("benchmarks/quality.py", "hierbert-check")
        rest = rest[2:] if settings and rest[:1] == ["--config"] else rest
        assert all(settings and re.match(r"[a-z_.]+=", word) for word in rest), rest


def check_other(words: list[str]) -> None:
    """What pip installs and bash runs is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for before, word in itertools.pairwise(words):
        if before in ("-r", "bash"):
            assert (ROOT / word).is_file(), word
        for extra in re.findall(r"^(?:hierbert|\.)\[(\w+)\]$", word):
            assert extra in project["optional-dependencies"], word


@pytest.fixture(scope="module")
def folder(trained: Path, encoders: dict[str, Path], tmp_path_factory) -> Path:
    """All that pages name: configs, documents, runs; copied for each page."""
    root = tmp_path_factory.mktemp("pages") / "folder"
    shutil.copytree(ROOT / "configs", root / "configs")
    for name in ("quickstart", "mine"):
        shutil.copytree(trained.parent, root / "runs" / name)
    rows = make_rows(16, seed=3)
    texts = [{"id": row["id"], "text": row["text"]} for row in rows]
    renamed = [{"body": row["text"], "topic": row["label"]} for row in rows]
    for name, table in {
        "my.csv": renamed,
        "reviews.csv": [{"text": row["text"], "label": row["label"]} for row in rows],
        "docs/one.csv": renamed,
    }.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    pd.DataFrame(rows).to_parquet(root / "my.parquet")
    for name in ("a.jsonl", "b.jsonl"):
        write_jsonl(root / name, [{**row, "id": f"{name} {row['id']}"} for row in rows[:8]])
    for name in ("docs.jsonl", "docs/two.jsonl"):
        write_jsonl(root / name, texts)
    with gzip.open(root / "dev.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in make_rows(6, seed=4))
    return root


@pytest.fixture
def page_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder, tmp_path / "page")
    monkeypatch.chdir(tmp_path / "page")
    return tmp_path / "page"


@pytest.fixture
def _registries() -> Iterator[None]:
    """What a page registers is forgotten after it."""
    importlib.import_module("hierbert.extend")
    registries = [
        value
        for name, module in list(sys.modules.items())
        if name.startswith("hierbert.")
        for constant, value in vars(module).items()
        if constant.isupper() and type(value) in (dict, list)
    ]
    before = [registry.copy() for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        (registry.extend if isinstance(registry, list) else registry.update)(entries)


def run_shell(block: Block, encoder: Path) -> None:
    """Run the commands of a block, with a small encoder and one epoch."""
    for command in commands(block.text):
        own = command.own
        assert own is not None and not command.several, f"mark the block: {command.words}"
        script, arguments = own
        if script == "hierbert-check":
            arguments = [*arguments, f"model.encoder={encoder}"]
        if script in ("train.py", "hierbert-train") and not {"--resume"} & {*arguments}:
            arguments = [*arguments, f"model.encoder={encoder}", "training.epochs=1"]
            arguments += ["training.documents_per_batch=8", "baselines=false"]
            arguments.append("report=none")
        stdin = Path(command.stdin).read_bytes() if command.stdin else None
        succeed(script, *arguments, here=True, stdin=stdin)


def small(source: str, encoder: Path) -> str:
    """Python with a small encoder for those of the Hub, and a folder for a model there."""
    for name in ("sentence-transformers/all-MiniLM-L6-v2", "bert-base-uncased"):
        source = source.replace(f'"{name}"', repr(str(encoder)))
    return source.replace('"user/name"', '"runs/quickstart/model"')


@pytest.mark.usefixtures("_registries")
@pytest.mark.parametrize("name", NAMES)
def test_every_block_runs_or_says_why_not(name, page_folder, encoders, monkeypatch) -> None:
    space: dict[str, Any] = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", type(sys)("page"))
    for block in blocks(ROOT / name):
        place = f"{name}:{block.line}"
        assert block.language in SHOWN | {"python", "bash"}, f"{place}: {block.language!r}"
        if block.language == "bash":
            for command in commands(block.text):
                check(command)
            if block.not_run is None:
                run_shell(block, encoders["bert"])
        elif block.language == "python":
            source = "\n" * block.line + small(block.text, encoders["bert"])
            code = compile(source, str(ROOT / name), "exec")
            if block.not_run is None:
                exec(code, space)


TEXTS = {name: path.read_text(encoding="utf-8") for name, path in zip(NAMES, PAGES, strict=True)}
ALL = "\n".join(TEXTS.values())


def test_every_setting_that_is_named_exists() -> None:
    known = printed_config("data.train=a.jsonl", "data.label_column=label").keys()
    # Of Python only what stands in quotes is a setting; of links nothing is.
    text = re.sub(r"(?ms)^```python$(.*?)^```$", lambda block: _quoted(block[1]), ALL)
    text = re.sub(r"\]\([^)]*\)", "", text)
    pattern = r"(?<![\w./])((?:data|model|training|segmentation|summary|publish)\.[a-z_]+)\b(?!\()"
    named = set(re.findall(pattern, text))
    assert len(named) > 30
    # A file of weights has such a name too.
    assert named - known <= {"model.safetensors"}


def _quoted(source: str) -> str:
    return "\n".join(re.findall(r'"([^"]*)"', source))


def test_every_setting_has_a_line_on_its_page() -> None:
    tables = runpy.run_path(str(ROOT / "docs" / "conf.py"))["settings_tables"]()
    known = printed_config("data.train=a.jsonl", "data.label_column=label").keys()
    assert {name for name in known if f"| `{name}` |" not in tables} == set()


def test_every_flag_that_is_named_exists() -> None:
    known = set(re.findall(FLAG, succeed("train.py", "--help", here=True).stdout))
    for command in (
        "infer.py",
        "hierbert-summarize",
        "hierbert-evaluate",
        "hierbert-check",
        "hierbert-report",
        "hierbert-taxonomy",
        "hierbert-push",
        *_benchmarks(),
    ):
        known |= flags(command).keys()
    # Of torchrun, accelerate, pip, pytest, TensorBoard and gunicorn.
    others = {"--nproc_per_node", "--shutdown-timeout", "--multi_gpu", "--num_processes", "--cpu"}
    others |= {"--index-url", "--hypothesis-profile", "--logdir", "--preload"}
    named = set(re.findall(FLAG, ALL))
    assert len(named) > 30
    assert named - known - others == set()


def _benchmarks() -> set[str]:
    owns = (
        command.own
        for path in PAGES
        for block in blocks(path)
        if block.language == "bash"
        for command in commands(block.text)
    )
    return {own[0] for own in owns if own is not None and own[0].startswith("benchmarks/")}


def test_every_file_that_is_named_or_linked_exists() -> None:
    named = set(re.findall(r"\b(?:configs|benchmarks|examples|tests|\.ci)/[\w./-]+", ALL))
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []
    for name, text in TEXTS.items():
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
            assert (ROOT / name).parent.joinpath(link).exists(), f"{name}: {link}"


def test_code_is_fenced_and_nothing_is_left_to_fill_in() -> None:
    for name, text in TEXTS.items():
        outside = re.sub(r"(?ms)^\s*```.*?^\s*```$", "", text)
        assert re.findall(r"\n\n(    \S.*)", outside) == [], name
        assert re.findall(r"(?m)^[A-Z_]{5,}$|TODO|FIXME", outside) == [], name


def test_the_readme_is_short_and_no_page_names_an_index_or_a_machine() -> None:
    assert len(TEXTS["README.md"].encode()) <= 10_000
    assert re.findall(r"pypi\.org|/(?:home|root|work|tmp|Users)/", ALL) == []
