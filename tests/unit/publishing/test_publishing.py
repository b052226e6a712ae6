"""Publishing without a network: what travels, what is uploaded, what is refused."""

import ast
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cards import RESULTS
from commands import write_jsonl
from conftest import make_rows
from inference import save_model, the_error
from local_hub import LocalHub
from publishing import TOKEN, USERS, Worker
from safetensors.torch import load_file, save_file
from transformers.dynamic_module_utils import get_relative_import_files

from hierbert import HierBertConfig
from hierbert.cli.push import main
from hierbert.cli.train import main as train_main
from hierbert.config import RunConfig
from hierbert.errors import ConfigError, ModelError, flag_setting
from hierbert.hub_names import check_hub_name
from hierbert.model.saving import code_files, complete_folder, public_name
from hierbert.publishing.files import files_of, is_replaced
from hierbert.publishing.publish import encoder_license, push_command
from hierbert.publishing.runs import base_model, dataset_id, encoder_name, find_run, public_settings
from hierbert.publishing.upload import Request
from hierbert.settings import dump_config, load_config
from hierbert.training.run_folder import check_run_folder

BASE = ["data.train=t.jsonl", "data.label_column=label"]


@pytest.fixture(scope="module")
def both(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both heads."""
    return save_model(tmp_path_factory.mktemp("saved") / "model", encoders["bert"])


@pytest.fixture
def copy(both: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both, tmp_path / "model"))


def dry_run(model: Path, *arguments: str | Path) -> int:
    return main([str(model), "--repo", "alice/demo", "--dry-run", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# Code that travels.


def test_the_code_that_travels_is_all_that_its_files_import() -> None:
    files = code_files()
    # transformers' own search, by which it copies and loads: from every entry it finds all others.
    for name in ("configuration", "modeling", "processing", "pipeline"):
        found = get_relative_import_files(files[f"{name}_hierbert.py"])
        assert {Path(path).name for path in found} | {f"{name}_hierbert.py"} == set(files)
    allowed = {"torch", "transformers", "huggingface_hub", *sys.stdlib_module_names}
    for path in files.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom) and node.level:
                # Only `from .sibling import name` is found.
                assert node.level == 1 and node.module and "." not in node.module, path
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] in allowed - {"__future__"}, path


def test_completing_a_folder_twice_changes_nothing(copy) -> None:
    complete_folder(copy)
    first = contents(copy)
    complete_folder(copy)
    assert contents(copy) == first
    config = json.loads(first["config.json"])
    assert set(config["custom_pipelines"]) >= {"document-classification", "document-summarization"}
    assert {name.split(".")[0] + ".py" for name in config["auto_map"].values()} <= set(first)
    # Where and how it was loaded here is nothing to others.
    assert b"local" not in first["tokenizer_config.json"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/alice/secret/minilm", "./minilm"),
        ("~/secret/minilm/", "./minilm"),
        ("../secret/minilm", "./minilm"),
        ("secret/deep/minilm", "./minilm"),
        ("C:\\secret\\minilm", "./minilm"),
        ("user/mini--lm", "./mini--lm"),
        ("user/minilm", "user/minilm"),
        ("bert-base-uncased", "bert-base-uncased"),
    ],
)
def test_the_encoders_folder_is_never_published(copy, given, shown) -> None:
    encoder = json.loads((copy / "config.json").read_text())["text_config"]
    edit_config(copy, _name_or_path=given, text_config={**encoder, "_name_or_path": given})
    complete_folder(copy)
    own = json.loads((copy / "config.json").read_text())
    assert (own["_name_or_path"], own["text_config"]["_name_or_path"]) == (shown, shown)
    assert "secret" not in json.dumps(own)


# What is uploaded.


def put(name: str, content: bytes) -> Callable[[Path], None]:
    """Writes a file into the folder of a model."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return write


def lose_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.output.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (put("pytorch_model.bin", b"x"), ["pytorch_model.bin is a pickle"]),
        (put("optimizer.pt", b"x"), ["optimizer.pt is a pickle"]),
        (put("harmless.txt", pickle.dumps({"a": 1})), ["harmless.txt is a pickle"]),
        (put("inner/state.dat", b"PK\x03\x04rest"), ["state.dat is a pickle"]),
        # The name alone makes no weights of a pickle.
        (put("model.safetensors", pickle.dumps({"a": 1})), ["model.safetensors is a pickle"]),
        (lose_a_weight, ["lacks 1 weights", "classifier.output.weight"]),
    ],
)
def test_what_is_no_whole_model_is_refused(damage, told, copy, capsys) -> None:
    damage(copy)
    assert dry_run(copy) == 2
    error = the_error(capsys)
    assert str(copy) in error and [words for words in told if words not in error] == []


def test_folders_of_something_else_are_refused(copy, tmp_path, capsys, monkeypatch) -> None:
    assert dry_run(tmp_path / "nowhere") == 2
    assert f"there is no model folder {tmp_path}/nowhere" in the_error(capsys)
    assert dry_run(tmp_path) == 2
    assert f"did you mean '{copy}'" in the_error(capsys)
    (copy / "notes.txt").write_text("mine")
    whole = Path.open

    def refused(path: Path, *arguments: str, **named: str) -> object:
        if path.name == "notes.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refused)
    assert dry_run(copy) == 2
    assert the_error(capsys) == f"{copy / 'notes.txt'} cannot be read: Permission denied"


def test_weights_are_no_pickle_for_the_length_of_their_header(copy) -> None:
    path = copy / "model.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    # A header may end in spaces: its length comes to begin with the bytes of a pickle.
    longer = (size // 65536 + 1) * 65536 + int.from_bytes(b"\x80\x04", "little")
    header = content[8 : 8 + size].ljust(longer)
    path.write_bytes(longer.to_bytes(8, "little") + header + content[8 + size :])
    assert path.read_bytes().startswith(b"\x80\x04")
    assert dry_run(copy) == 0


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"documents": "4"}, "documents='4' is not allowed; it is a whole number"),
        ({"steps": True}, "steps=True is not allowed; it is a whole number"),
        ({"split": 3}, "split=3 is not allowed; it is a text"),
        ({"scores": None}, "scores=None is not allowed; it is an object"),
        ({"scores": {"accuracy": "x"}}, "scores.accuracy='x' is not allowed; it is a number"),
        ({"majority": [1]}, "majority=[1] is not allowed; it is an object"),
        ({"lengths": {"train": {"documents": "many"}}}, "no card can be made of it"),
        ({"intervals": {"accuracy": 0.5}}, "no card can be made of it"),
    ],
)
def test_damaged_results_are_one_line(damage, told, copy, tmp_path, capsys) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**RESULTS, **damage}))
    assert dry_run(copy) == 2
    error = the_error(capsys)
    assert error.startswith(f"{path} is damaged") and told in error


# Of each kind, those that are allowed and those that are not.
NAMES = {
    "repo": (
        f"alice/demo|a/b|My-Org/m_1.2-b|alice/{'x' * 96}",
        "demo|a/b/c|alice/|/demo|alice/de mo|alice/-demo|alice/de--mo|alice/é|alice/x.git|alice/.."
        f"|alice/{'x' * 97}|https://huggingface.co/a|alice/demo\n",
    ),
    "revision": (f"main|v2|refs/pr/1|a_b-c.d|{'a' * 39}", f"{'a' * 40}|a..b|a/|.a|a.lock|a b|"),
    "license": ("apache-2.0|mit|cc-by-4.0|other", "Apache 2||mit\n"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_which_names_the_hub_allows(kind) -> None:
    allowed, refused = NAMES[kind]
    for name in allowed.split("|"):
        check_hub_name(kind, name)
    for name in refused.split("|"):
        with pytest.raises(ConfigError) as caught:
            check_hub_name(kind, name)
        assert caught.value.worded(flag_setting).startswith(f"--{kind}={name!r:.60}"[:60])
        assert caught.value.allowed


def test_offline_nothing_is_pushed(both, tmp_path, capsys) -> None:
    # The tests of this process are offline, as a user may be.
    assert main([str(both), "--repo", "alice/demo"]) == 2
    assert the_error(capsys).startswith("HF_HUB_OFFLINE is set")
    train = write_jsonl(tmp_path / "train.jsonl", make_rows(8))
    arguments = [f"data.train={train}", BASE[1], f"run_dir={tmp_path / 'run'}"]
    assert train_main([*arguments, "publish.repo=a/b"]) == 2
    assert the_error(capsys).startswith("HF_HUB_OFFLINE is set")
    assert not (tmp_path / "run").exists()


def test_what_a_push_takes_away_is_only_what_a_push_writes() -> None:
    taken = ["model.safetensors", "model-00001-of-00002.safetensors", "vocab.txt", "spiece.model"]
    kept = ["README.md", ".gitattributes", "mine.py", "LICENSE", "notes.txt", "onnx/model.onnx"]
    kept += ["adapter_model.safetensors", "old/model.safetensors", "pytorch_model.bin"]
    # A copy of the model without its run leaves what the page has of it.
    kept += ["results.json", "config.resolved.yaml"]
    assert all(map(is_replaced, taken)) and not any(map(is_replaced, kept))


# What is said of the model, its encoder and its corpora.


def test_labels_that_utf_8_cannot_hold_are_escaped(copy, tmp_path) -> None:
    names = ["half \ud83d", "b", "c"]
    edit_config(
        copy,
        id2label={str(number): name for number, name in enumerate(names)},
        label2id={name: number for number, name in enumerate(names)},
    )
    assert dry_run(copy, "--card-out", tmp_path / "card.md") == 0
    assert "| half \\\\ud83d |" in (tmp_path / "card.md").read_text(encoding="utf-8")


def test_which_corpora_are_datasets_of_the_hub(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user" / "here").mkdir(parents=True)
    for spec, name in (
        ("hub://alice/corpus#train", "alice/corpus"),
        ("alice/corpus:en", "alice/corpus"),
        (["alice/corpus#a", "alice/corpus#b"], "alice/corpus"),
        (["alice/corpus", "bob/corpus"], None),
        ("user/here", None),
        ("data/train.jsonl", None),
        ("package://aclsum/train", None),
        (None, None),
    ):
        assert dataset_id(spec) == name, spec
    corpora = "data.train=[/a/b.csv, 'c/*.jsonl', alice/corpus]"
    shown = public_settings(load_config(RunConfig, None, [corpora, BASE[1]]))
    assert shown.data.train == ["b.csv", "*.jsonl", "alice/corpus"]
    assert public_settings(shown) == shown
    shown = public_settings(
        load_config(RunConfig, None, [*BASE, "model.start_from=/home/alice/runs/a/model"])
    )
    assert shown.model.start_from == "model"


def test_the_licence_of_an_encoder_is_asked_for_on_the_hub_only_online(
    tmp_path, monkeypatch
) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n")

    def download(name: str, file: str, local_files_only: bool = False) -> Path:
        assert (name, file) == ("user/encoder", "README.md")
        if local_files_only:
            raise FileNotFoundError
        return card

    monkeypatch.setattr("hierbert.publishing.publish.hf_hub_download", download)
    assert encoder_license("user/encoder", online=False) is None
    assert encoder_license("user/encoder", online=True) == "mit"


def test_the_run_of_a_model_lies_beside_it(copy, tmp_path) -> None:
    config = HierBertConfig.from_pretrained(copy)
    assert find_run(copy, config) is None
    path = tmp_path / "results.json"
    path.write_text(json.dumps(RESULTS))
    run = find_run(copy, config)
    assert run is not None and run.results == RESULTS and run.config is None
    assert "results.json" in files_of(copy, run)
    for text, told in (("[]", "no JSON object"), ('{"split": "test"}', "scores is missing")):
        path.write_text(text)
        with pytest.raises(ModelError, match=rf"results\.json .*{told}"):
            find_run(copy, config)


def test_a_folder_with_a_name_like_the_hubs_stays_a_folder(
    copy, encoders, tmp_path, monkeypatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(encoders["bert"], home / "encoders" / "minilm")
    monkeypatch.chdir(home)
    # What training writes, beside the settings as the user gave them.
    encoder = json.loads((copy / "config.json").read_text())["text_config"]
    remembered = public_name("encoders/minilm")
    edit_config(copy, text_config={**encoder, "_name_or_path": remembered})
    config = load_config(RunConfig, None, [*BASE, "model.encoder=encoders/minilm"])
    (tmp_path / "config.resolved.yaml").write_text(dump_config(config))
    # Pushed from elsewhere, where there is no such folder.
    monkeypatch.chdir(tmp_path)
    model = HierBertConfig.from_pretrained(copy)
    run = find_run(copy, model)
    assert base_model(model, run) is None and base_model(model, None) is None
    assert encoder_name(model, run) == encoder_name(model, None) == "minilm"
    assert public_settings(run.config).model.encoder == "minilm"
    assert public_name("encoders/minilm") == "encoders/minilm"


@pytest.mark.parametrize("name", ["user/a--b", "user/a..b", "user/a.git"])
def test_a_name_that_no_repository_can_have_is_no_mistake(name, copy, tmp_path) -> None:
    config = load_config(RunConfig, None, [*BASE, f"model.encoder={name}"])
    (tmp_path / "config.resolved.yaml").write_text(dump_config(config))
    assert dry_run(copy) == 0


# In training.


def test_a_run_can_be_resumed_with_another_page(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    arguments = [*BASE, f"run_dir={tmp_path / 'run'}"]
    config = load_config(RunConfig, None, arguments)
    (tmp_path / "run" / "config.resolved.yaml").write_text(dump_config(config))
    check_run_folder(load_config(RunConfig, None, [*arguments, "publish.repo=a/b"]), resume=True)


def test_the_command_that_pushes_again() -> None:
    request = Request(
        Path("runs/my run/model"), "alice/demo", private=True, branch="v2", license="mit"
    )
    assert push_command(request) == (
        'python -m hierbert push "runs/my run/model" --repo alice/demo --private '
        "--revision v2 --license mit"
    )
    plain = push_command(Request(Path("runs/x/model"), "alice/demo"))
    assert plain == "python -m hierbert push runs/x/model --repo alice/demo"


# One round trip with the genuine clients; the others are slow ones.


def test_a_push_is_one_commit_and_the_same_again_is_none(copy, tmp_path) -> None:
    (tmp_path / "home").mkdir()
    for path in copy.glob("*.py"):
        path.unlink()
    with LocalHub(USERS) as hub, Worker(tmp_path / "home", hub, hierbert=True) as author:
        done = author.push(copy, "--repo", "alice/once")
        assert done.result == 0, done.stderr
        first, commit = hub.commits("alice/once")
        assert (first.title, commit.title) == ("initial commit", "Upload model with hierbert")
        files = hub.files("alice/once")
        assert files["model.safetensors"] == (copy / "model.safetensors").read_bytes()
        assert set(code_files()) < set(files) and {"README.md", "tokenizer.json"} < set(files)
        # The folder itself is left as it was: code is added on the way.
        assert not list(copy.glob("*.py"))
        again = author.push(copy, "--repo", "alice/once")
        assert again.result == 0 and "nothing has changed" in again.stderr
        assert len(hub.commits("alice/once")) == 2
        assert TOKEN not in done.stdout + done.stderr
        # Without large files, everything is in the commit itself.
        assert not [line for line in hub.requests if "/stored/" in line or "lfs" in line]
