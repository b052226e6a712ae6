"""Publishing without a network: what travels, what is uploaded, what is refused."""

import ast
import json
import pickle
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cards import RESULTS
from commands import write_jsonl
from conftest import make_rows
from inference import save_model, the_error
from local_hub import LocalHub
from publishing import FIRST_FORMAT, TOKEN, USERS, Worker
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.dynamic_module_utils import get_relative_import_files

from hierbert import HierBertConfig, HierBertForDocuments, HierBertPredictor
from hierbert.cli.push import main
from hierbert.cli.train import main as train_main
from hierbert.config import RunConfig
from hierbert.config_loading import dump_config, load_config
from hierbert.encoders import lasting_name
from hierbert.errors import ConfigError, ModelError, RunError
from hierbert.hub_names import check_hub_name
from hierbert.model.saving import code_files, complete_folder
from hierbert.publishing.files import is_replaced, plan_upload
from hierbert.publishing.publish import push_command
from hierbert.publishing.runs import base_model, dataset_id, encoder_name, find_run, public_settings
from hierbert.publishing.upload import Target
from hierbert.training.run_folder import check_run_folder


@pytest.fixture(scope="module")
def both(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both heads."""
    return save_model(tmp_path_factory.mktemp("saved") / "model", encoders["bert"])


@pytest.fixture
def copy(both: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both, tmp_path / "model"))


# Code that travels.


def test_the_code_that_travels_is_all_that_its_files_import() -> None:
    files = code_files()
    # transformers' own search, by which it copies and loads: from every file it finds all others.
    for path in files.values():
        needed = {Path(other).name for other in get_relative_import_files(path)}
        assert needed <= set(files)
    for name in ("configuration", "modeling", "processing"):
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
    first = {path.name: path.read_bytes() for path in copy.iterdir()}
    complete_folder(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == first
    config = json.loads(first["config.json"])
    assert set(config["custom_pipelines"]) == {"document-classification", "document-summarization"}
    assert {name.split(".")[0] + ".py" for name in config["auto_map"].values()} <= set(first)
    # Where and how it was loaded here is nothing to others.
    assert b"local" not in first["tokenizer_config.json"]


def test_the_first_format_still_loads(tmp_path) -> None:
    expected = json.loads((FIRST_FORMAT / "expected.json").read_text(encoding="utf-8"))
    texts = [row["text"] for row in expected]
    complete = Path(shutil.copytree(FIRST_FORMAT, tmp_path / "model"))
    complete_folder(complete)
    for folder in (FIRST_FORMAT, complete):
        predictor = HierBertPredictor.from_pretrained(folder, device="cpu")
        for answer, row in zip(predictor.predict(texts), expected, strict=True):
            assert answer.label == row["label"]
            for name, share in row["probabilities"].items():
                assert abs(answer.probabilities[name] - share) < 1e-6
            places = [[s.start, s.end, pytest.approx(s.score, abs=1e-6)] for s in answer.sentences]
            assert row["sentences"] == places


# What is uploaded.


def test_a_dry_run_needs_neither_network_nor_token(copy, capsys, monkeypatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (copy / "notes.txt").write_text("mine")
    (copy / "README.md").write_text("# Mine\n")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert main([str(copy), "--repo", "alice/demo", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    weights = (copy / "model.safetensors").stat().st_size
    size = re.search(r"model\.safetensors +([0-9.]+)kB\n", shown)[1]
    assert abs(1000 * float(size) - weights) < 0.01 * weights
    for name in ("README.md", "config.json", "tokenizer.json", "pipeline_hierbert.py"):
        assert re.search(rf"(?m)^  {re.escape(name)} +[0-9.]+k?B$", shown)
    assert "left out, for it is no part of the model: README.md, notes.txt" in shown
    assert "README.md in the folder is not the page's card: --card README.md" in shown
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_pickles_are_never_published(copy, capsys) -> None:
    for name, content in (
        ("pytorch_model.bin", b"x"),
        ("optimizer.pt", b"x"),
        ("harmless.txt", pickle.dumps({"a": 1})),
        ("inner/state.dat", b"PK\x03\x04rest"),
    ):
        path = copy / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        assert main([str(copy), "--repo", "alice/demo", "--dry-run"]) == 2
        assert the_error(capsys).startswith(f"{path} is a pickle, or of a kind that holds pickles")
        path.unlink()
    plan_upload(copy, None)


def test_weights_are_no_pickle_for_the_length_of_their_header(copy, capsys) -> None:
    path = copy / "model.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    # A header may end in spaces: its length comes to begin with the bytes of a pickle.
    longer = (size // 65536 + 1) * 65536 + int.from_bytes(b"\x80\x04", "little")
    header = content[8 : 8 + size].ljust(longer)
    path.write_bytes(longer.to_bytes(8, "little") + header + content[8 + size :])
    assert path.read_bytes().startswith(b"\x80\x04")
    assert "model.safetensors" in plan_upload(copy, None).contents
    # The name alone makes no weights of a pickle.
    path.write_bytes(pickle.dumps({"a": 1}))
    assert main([str(copy), "--repo", "alice/demo", "--dry-run"]) == 2
    assert "is a pickle" in the_error(capsys)


def test_a_file_that_cannot_be_read_is_named(copy, capsys, monkeypatch) -> None:
    (copy / "notes.txt").write_text("mine")
    whole = Path.open

    def refused(path: Path, *arguments: str, **named: str) -> object:
        if path.name == "notes.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refused)
    assert main([str(copy), "--repo", "alice/demo", "--dry-run"]) == 2
    assert the_error(capsys) == f"{copy / 'notes.txt'} cannot be read: Permission denied"


def test_another_folder_is_refused_before_its_files_are_read(tmp_path, capsys) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    assert main([str(tmp_path), "--repo", "alice/demo", "--dry-run"]) == 2
    assert "is no model folder: config.json is missing" in the_error(capsys)


@pytest.mark.parametrize(
    ("damage", "said"),
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
def test_damaged_results_are_one_line(damage, said, copy, tmp_path, capsys) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**RESULTS, **damage}))
    assert main([str(copy), "--repo", "alice/demo", "--dry-run"]) == 2
    error = the_error(capsys)
    assert error.startswith(f"{path} is damaged") and said in error


def test_no_way_of_loading_reads_a_pickle(copy) -> None:
    classes = (AutoModel, AutoModelForSequenceClassification, HierBertForDocuments)
    for kind in classes:
        kind.from_pretrained(copy)
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    for kind in classes:
        with pytest.raises(OSError, match=r"model\.safetensors"):
            kind.from_pretrained(copy)
    complete_folder(copy)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(copy, trust_remote_code=True)


def test_folders_that_are_no_whole_model_are_refused(copy, tmp_path, capsys) -> None:
    def error(folder: Path) -> str:
        assert main([str(folder), "--repo", "alice/demo", "--dry-run"]) == 2
        return the_error(capsys)

    assert error(tmp_path / "nowhere").startswith(f"there is no model folder {tmp_path}/nowhere")
    assert f"did you mean '{copy}'" in error(tmp_path)
    weights = load_file(copy / "model.safetensors")
    lacking = dict(weights)
    del lacking["classifier.output.weight"]
    save_file(lacking, copy / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 weights, such as classifier.output.weight" in error(copy)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    (copy / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    assert error(copy).endswith("is not complete: tokenizer.json is missing")
    (tmp_path / "tokenizer.json").rename(copy / "tokenizer.json")
    (copy / "model.safetensors").unlink()
    assert "holds no weights" in error(copy)


@pytest.mark.parametrize(
    "name",
    [
        *("demo", "a/b/c", "alice/", "/demo", "alice/de mo", "alice/-demo", "alice/de--mo"),
        *("alice/é", "alice/x.git", "alice/..", f"alice/{'x' * 97}", "https://huggingface.co/a"),
        "alice/demo\n",
    ],
)
def test_names_that_the_hub_does_not_allow_are_refused(name, both, capsys) -> None:
    assert main([str(both), "--repo", name, "--dry-run"]) == 2
    said = the_error(capsys)
    assert said.startswith("--repo=") and "user/name" in said


def test_names_that_the_hub_allows_pass() -> None:
    for kind, names in (
        ("repo", ("alice/demo", "a/b", "My-Org/m_1.2-b", f"alice/{'x' * 96}")),
        ("revision", ("main", "v2", "refs/pr/1", "a_b-c.d", "a" * 39)),
        ("license", ("apache-2.0", "mit", "cc-by-4.0", "other")),
    ):
        for name in names:
            check_hub_name(kind, name)


def test_other_mistakes_of_the_command_are_one_line(both, tmp_path, capsys) -> None:
    for arguments, said in (
        (["--revision", "a" * 40], "models are pushed to a branch, not to a commit"),
        (["--revision", "a..b"], "--revision='a..b' is not allowed"),
        (["--license", "Apache 2"], "--license='Apache 2' is not allowed"),
        (["--message", " "], "--message is empty"),
        (["--card", str(tmp_path / "none.md")], "none.md cannot be read"),
        (["--run", str(tmp_path)], "holds no run"),
        (["--card-out", str(both / "config.json" / "x")], "cannot be written"),
        (["--nonsense"], "unrecognized arguments: --nonsense; see hierbert-push --help"),
    ):
        assert main([str(both), "--repo", "alice/demo", "--dry-run", *arguments]) == 2
        assert said in the_error(capsys)


def test_offline_nothing_is_pushed(both, capsys) -> None:
    # The tests of this process are offline, as a user may be.
    assert main([str(both), "--repo", "alice/demo"]) == 2
    assert the_error(capsys).startswith("HF_HUB_OFFLINE is set")


def test_what_a_push_takes_away_is_only_what_a_push_writes() -> None:
    taken = ["model.safetensors", "model-00001-of-00002.safetensors", "vocab.txt", "spiece.model"]
    kept = ["README.md", ".gitattributes", "mine.py", "LICENSE", "notes.txt", "onnx/model.onnx"]
    kept += ["adapter_model.safetensors", "old/model.safetensors", "pytorch_model.bin"]
    # A copy of the model without its run leaves what the page has of it.
    kept += ["results.json", "config.resolved.yaml"]
    assert all(map(is_replaced, taken)) and not any(map(is_replaced, kept))


# What is said of the model, its encoder and its corpora.


def test_labels_that_utf_8_cannot_hold_are_escaped(copy) -> None:
    values = json.loads((copy / "config.json").read_text())
    values |= {"id2label": {"0": "half \ud83d", "1": "b", "2": "c"}}
    values |= {"label2id": {"half \ud83d": 0, "b": 1, "c": 2}}
    (copy / "config.json").write_text(json.dumps(values))
    assert main([str(copy), "--repo", "a/b", "--dry-run", "--card-out", str(copy / "card.md")]) == 0
    assert "| half \\\\ud83d |" in (copy / "card.md").read_text(encoding="utf-8")


def test_which_corpora_are_datasets_of_the_hub(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "here").mkdir()
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
    config = load_config(
        RunConfig, None, ["data.train=[/a/b.csv, 'c/*.jsonl', alice/corpus]", "data.label_column=l"]
    )
    shown = public_settings(config)
    assert shown.data.train == ["b.csv", "*.jsonl", "alice/corpus"]
    assert public_settings(shown) == shown


def test_the_run_of_a_model_lies_beside_it(copy, tmp_path) -> None:
    assert find_run(copy) is None
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    run = find_run(copy)
    assert run is not None and run.results == RESULTS and run.config is None
    assert "results.json" in plan_upload(copy, run).contents
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ModelError, match=r"results\.json holds no JSON object"):
        find_run(copy)
    (tmp_path / "results.json").write_text('{"split": "test", "loss": 1}')
    with pytest.raises(ModelError, match="of no run of hierbert's: scores is missing"):
        find_run(copy)


def test_the_encoders_folder_is_never_published(copy, tmp_path, monkeypatch) -> None:
    for given_, shown in (
        ("/home/alice/secret/minilm", "./minilm"),
        ("~/secret/minilm/", "./minilm"),
        ("../secret/minilm", "./minilm"),
        ("secret/deep/minilm", "./minilm"),
        ("C:\\secret\\minilm", "./minilm"),
        ("user/mini--lm", "./mini--lm"),
        ("user/minilm", "user/minilm"),
        ("bert-base-uncased", "bert-base-uncased"),
    ):
        values = json.loads((copy / "config.json").read_text())
        values["_name_or_path"] = values["text_config"]["_name_or_path"] = given_
        (copy / "config.json").write_text(json.dumps(values))
        complete_folder(copy)
        text = (copy / "config.json").read_text()
        assert "secret" not in text
        own = json.loads(text)
        assert (own["_name_or_path"], own["text_config"]["_name_or_path"]) == (shown, shown)


def test_a_folder_with_a_name_like_the_hubs_stays_a_folder(
    copy, encoders, tmp_path, monkeypatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(encoders["bert"], home / "encoders" / "minilm")
    monkeypatch.chdir(home)
    # What training writes, beside the settings as the user gave them.
    values = json.loads((copy / "config.json").read_text())
    values["text_config"]["_name_or_path"] = lasting_name("encoders/minilm")
    (copy / "config.json").write_text(json.dumps(values))
    arguments = ["data.train=t.jsonl", "data.label_column=label", "model.encoder=encoders/minilm"]
    config = load_config(RunConfig, None, arguments)
    (tmp_path / "config.resolved.yaml").write_text(dump_config(config))
    # Pushed from elsewhere, where there is no such folder.
    monkeypatch.chdir(tmp_path)
    run = find_run(copy)
    model = HierBertConfig.from_pretrained(copy)
    assert base_model(model, run) is None and base_model(model, None) is None
    assert encoder_name(model, run) == encoder_name(model, None) == "minilm"
    assert public_settings(run.config).model.encoder == "minilm"
    assert lasting_name("encoders/minilm") == "encoders/minilm"


def test_a_name_that_no_repository_can_have_is_no_mistake(copy, tmp_path) -> None:
    for name in ("user/a--b", "user/a..b", "user/a.git"):
        config = load_config(
            RunConfig, None, ["data.train=t", "data.label_column=l", f"model.encoder={name}"]
        )
        (tmp_path / "config.resolved.yaml").write_text(dump_config(config))
        assert main([str(copy), "--repo", "alice/demo", "--dry-run"]) == 0


# In training.


def test_the_settings_of_publishing_are_checked_at_once() -> None:
    base = ["data.train=t", "data.label_column=label"]
    for override, said in (
        ("publish.repo=demo", "publish.repo='demo' is not allowed"),
        ("publish.private=true", "need publish.repo=user/name"),
        ("publish.license=mit", "need publish.repo=user/name"),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            load_config(RunConfig, None, [*base, override])
    for override in ("publish.revision=a..b", "publish.license=Apache 2"):
        with pytest.raises(ConfigError, match="is not allowed"):
            load_config(RunConfig, None, [*base, "publish.repo=alice/demo", override])


def test_the_command_that_pushes_again() -> None:
    target = Target("alice/demo", private=True, branch="v2")
    command = push_command(Path("runs/my run/model"), target, "mit")
    assert command == (
        'python -m hierbert.publishing "runs/my run/model" --repo alice/demo --private '
        "--revision v2 --license mit"
    )
    plain = push_command(Path("runs/x/model"), replace(target, private=False, branch="main"))
    assert plain == "python -m hierbert.publishing runs/x/model --repo alice/demo"


def test_training_that_could_not_push_does_not_begin(encoders, tmp_path, capsys) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", make_rows(8))
    arguments = [f"data.train={train}", "data.label_column=label", f"run_dir={tmp_path / 'run'}"]
    assert train_main([*arguments, f"model.encoder={encoders['bert']}", "publish.repo=a/b"]) == 2
    assert the_error(capsys).startswith("HF_HUB_OFFLINE is set, so nothing can be pushed")
    assert not (tmp_path / "run").exists()


def test_a_run_can_be_resumed_with_another_page(tmp_path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", make_rows(8))
    arguments = [f"data.train={train}", "data.label_column=label", f"run_dir={tmp_path / 'run'}"]
    config = load_config(RunConfig, None, arguments)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.resolved.yaml").write_text(dump_config(config))
    check_run_folder(load_config(RunConfig, None, [*arguments, "publish.repo=a/b"]), resume=True)
    with pytest.raises(RunError, match="seed: 0 -> 1"):
        check_run_folder(load_config(RunConfig, None, [*arguments, "seed=1"]), resume=True)


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
