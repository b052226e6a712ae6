"""Publishing without a network: what is uploaded, what is refused, what is never told."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
from commands import write_jsonl
from conftest import make_rows
from inference import save_model, the_error

from hierbert import HierBertConfig
from hierbert.cli.push import main
from hierbert.cli.train import main as train_main
from hierbert.config import RunConfig
from hierbert.errors import ConfigError
from hierbert.hub_names import check_hub_name
from hierbert.model.saving import completed_files, public_name
from hierbert.publishing.files import files_of, is_replaced
from hierbert.publishing.publish import encoder_license, push_command
from hierbert.publishing.runs import base_model, dataset_id, encoder_name, find_run, public_settings
from hierbert.publishing.upload import Request
from hierbert.settings import dump_config, load_config

BASE = ["data.train=t.jsonl", "data.label_column=label"]


def settings_of(*overrides: str) -> RunConfig:
    base = BASE[1:] if any(one.startswith("data.train=") for one in overrides) else BASE
    return load_config(RunConfig, None, [*base, *overrides])


@pytest.fixture(scope="module")
def both(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both heads."""
    return save_model(tmp_path_factory.mktemp("saved") / "model", encoders["bert"])


@pytest.fixture
def copy(both: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both, tmp_path / "model"))


def dry_run(model: Path) -> int:
    return main([str(model), "--repo", "alice/demo", "--dry-run"])


# What is uploaded.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("optimizer.pt", b"x"),
        ("OPTIMIZER.PT", b"x"),
        ("harmless.txt", pickle.dumps({"a": 1})),
        ("inner/state.dat", b"PK\x03\x04rest"),
        # The name alone makes no weights of a pickle.
        ("model.safetensors", pickle.dumps({"a": 1})),
    ],
)
def test_a_pickle_is_never_published(name, content, copy, capsys) -> None:
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(content)
    assert dry_run(copy) == 2
    assert f"{copy / name} is a pickle" in the_error(capsys)


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


def test_a_file_that_cannot_be_read_is_one_line(copy, capsys, monkeypatch) -> None:
    (copy / "notes.txt").write_text("mine")
    whole = Path.open

    # Root may read anything, so a mode would test nothing.
    def refused(path: Path, *arguments: str, **named: str) -> object:
        if path.name == "notes.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refused)
    assert dry_run(copy) == 2
    assert the_error(capsys) == f"{copy / 'notes.txt'} cannot be read: Permission denied"


def test_weights_of_another_sharding_in_the_folder_stay_there(copy) -> None:
    index, others = "model.safetensors.index.json", ["model-00001-of-00002.safetensors", "notes.md"]
    for name in (index, *others):
        (copy / name).write_text("{}")
    assert files_of(copy, None).keys() & {index, *others, "model.safetensors"} == {
        "model.safetensors"
    }
    (copy / "model.safetensors").unlink()
    assert files_of(copy, None).keys() & {index, *others} == {index, others[0]}


def test_what_a_push_takes_away_is_only_what_a_push_writes() -> None:
    taken = ["model.safetensors", "model-00001-of-00002.safetensors", "vocab.txt", "spiece.model"]
    kept = ["README.md", ".gitattributes", "mine.py", "LICENSE", "notes.txt", "onnx/model.onnx"]
    kept += ["adapter_model.safetensors", "old/model.safetensors", "pytorch_model.bin"]
    # A copy of the model without its run leaves what the page has of it.
    kept += ["results.json", "config.resolved.yaml"]
    assert all(map(is_replaced, taken)) and not any(map(is_replaced, kept))


# Of each kind, those that are allowed and those that are not.
NAMES = {
    "repo": (
        f"alice/demo|a/b|My-Org/m_1.2-b|alice/{'x' * 96}",
        f"alice/de--mo|alice/é|alice/{'x' * 97}|https://huggingface.co/a|alice/demo\n",
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
        with pytest.raises(ConfigError, match=rf"publish\.{kind}="):
            check_hub_name(kind, name)


def test_offline_nothing_is_pushed(both, tmp_path, capsys) -> None:
    # The tests of this process are offline, as a user may be.
    assert main([str(both), "--repo", "alice/demo"]) == 2
    assert the_error(capsys).startswith("HF_HUB_OFFLINE is set")
    train = write_jsonl(tmp_path / "train.jsonl", make_rows(8))
    arguments = [f"data.train={train}", BASE[1], f"run_dir={tmp_path / 'run'}"]
    assert train_main([*arguments, "publish.repo=a/b"]) == 2
    assert the_error(capsys).startswith("HF_HUB_OFFLINE is set")
    assert not (tmp_path / "run").exists()


# What is said of the run, the encoder and the corpora.


@pytest.mark.parametrize(
    "damage",
    [
        {"documents": "4"},
        {"scores": None},
        {"scores": {"accuracy": "x"}},
        {"lengths": {"train": 1}},
    ],
)
def test_damaged_results_are_one_line(damage, copy, tmp_path, capsys) -> None:
    whole = dict.fromkeys(("documents", "epochs", "steps", "best_step"), 4)
    whole |= {"split": "test", "scores": {"accuracy": 0.75, "loss": 1.0, "macro_f1": 0.5}}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(whole))
    assert dry_run(copy) == 0
    for damaged in ({**whole, **damage}, {"split": "test"}, []):
        path.write_text(json.dumps(damaged))
        assert dry_run(copy) == 2
        assert the_error(capsys).startswith(str(path))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("~/secret/minilm/", "./minilm"),
        ("secret/deep/minilm", "./minilm"),
        ("C:\\secret\\minilm", "./minilm"),
        ("user/mini--lm", "./mini--lm"),
        ("user/minilm", "user/minilm"),
        ("bert-base-uncased", "bert-base-uncased"),
    ],
)
def test_the_encoders_folder_is_never_published(given, shown) -> None:
    assert public_name(given) == shown


def test_no_folder_of_a_machine_is_in_the_settings_of_a_page() -> None:
    names = (
        "run_dir",
        "data.test",
        "data.taxonomy",
        "model.encoder",
        "model.start_from",
        "training.cache_dir",
    )
    config = settings_of(*(f"{name}=/home/me/{number}" for number, name in enumerate(names)))
    assert dump_config(config).count("/home/me") == len(names)
    assert "/home/me" not in dump_config(public_settings(config))


def test_where_a_tokenizer_was_loaded_from_is_never_published(copy) -> None:
    path = copy / "tokenizer_config.json"
    kept = json.loads(path.read_bytes())
    # As the versions of transformers write it; which of these differs from one to the next.
    local = {"name_or_path": "/home/me/secret", "is_local": True, "local_files_only": True}
    path.write_text(json.dumps(kept | local), encoding="utf-8")
    assert json.loads(completed_files(copy)["tokenizer_config.json"]) == kept


def test_a_folder_with_a_name_like_the_hubs_stays_a_folder(
    copy, encoders, tmp_path, monkeypatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(encoders["bert"], home / "encoders" / "minilm")
    monkeypatch.chdir(home)
    # What training writes, beside the settings as the user gave them.
    model = HierBertConfig.from_pretrained(copy)
    model.encoder_config._name_or_path = public_name("encoders/minilm")
    config = settings_of("model.encoder=encoders/minilm")
    (tmp_path / "config.resolved.yaml").write_text(dump_config(config))
    # Pushed from elsewhere, where there is no such folder.
    monkeypatch.chdir(tmp_path)
    run = find_run(copy, model)
    assert base_model(model, run) is None and base_model(model, None) is None
    assert encoder_name(model, run) == encoder_name(model, None) == "minilm"
    assert public_settings(run.config).model.encoder == "minilm"
    assert public_name("encoders/minilm") == "encoders/minilm"


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
    ):
        assert dataset_id(spec) == name, spec
    shown = public_settings(
        settings_of(
            "data.train=[/a/b.csv, 'c/*.jsonl', alice/corpus]",
            "model.start_from=/home/alice/runs/a/model",
        )
    )
    assert shown.data.train == ["b.csv", "*.jsonl", "alice/corpus"]
    assert shown.model.start_from == "model"
    assert public_settings(shown) == shown


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


def test_the_command_that_pushes_again() -> None:
    asked = {"private": True, "branch": "v2", "license": "mit"}
    assert push_command(Request(Path("runs/my run/model"), "alice/demo", **asked)) == (
        "python -m hierbert push 'runs/my run/model' --repo alice/demo --private --revision v2 "
        "--license mit"
    )
