"""Models and encoders from strangers: one line each, nothing run, nothing built too large."""

import json
import math
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import refuse, succeed, write_jsonl
from conftest import KINDS, make_rows
from hostile import (
    DAMAGED_WEIGHTS,
    FOREIGN_CODE,
    Damage,
    edit,
    every,
    marker_of,
    modules,
    pickles,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import build, save_model

from hierbert import HierBert, HierBertError, HierBertForDocuments

TEXTS = ["The court read the contract. The judge was good.", "A film."]


@pytest.fixture(scope="module")
def whole(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("whole"), encoders["bert"])


@pytest.fixture(scope="module")
def labels(whole: Path) -> list[float]:
    return probabilities(whole)


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


@pytest.fixture
def encoder(encoders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoders["bert"], tmp_path / "encoder"))


def probabilities(folder: Path) -> list[float]:
    predictor = HierBert.from_pretrained(folder, device="cpu")
    return [value for found in predictor.classify(TEXTS) for value in found.probabilities.values()]


def vocabulary(change: Callable[[dict[str, int]], dict[str, int]]) -> Damage:
    """Another vocabulary in tokenizer.json."""

    def damage(folder: Path) -> None:
        path = folder / "tokenizer.json"
        values = json.loads(path.read_text())
        values["model"]["vocab"] = change(values["model"]["vocab"])
        path.write_text(json.dumps(values))

    return damage


NO_WORDS = vocabulary(lambda words: {name: n for name, n in words.items() if n < 5})
OTHER_WORDS = vocabulary(lambda words: words | {f"more{n}": 10_000 + n for n in range(9)})
ONE_MORE_WORD = vocabulary(lambda words: words | {"more": max(words.values()) + 1})
OWN_TOKENIZER = {
    "tokenizer_class": "OwnTokenizer",
    "auto_map": {"AutoTokenizer": ["own.Own", None]},
}

DAMAGED_MODELS: dict[str, tuple[Damage, str]] = {
    **DAMAGED_WEIGHTS,
    "a kind that is no text": (edit(model_type=["hierbert"]), r"of type \['hierbert'\]"),
    "an encoder of its own code": (
        every(
            edit(text_config__model_type="own", text_config__auto_map=FOREIGN_CODE),
            modules("own.py"),
        ),
        "model_type 'own' is none that transformers knows by itself; code of its own",
    ),
    "an encoder that is no object": (edit(text_config=[1]), "text_config must be an object"),
    "an encoder without a kind that is text": (edit(text_config__model_type={}), "model_type {}"),
    "an encoder with a decoder": (
        edit(text_config__model_type="t5"), "model_type 't5' is an encoder-decoder; a text encoder",
    ),
    "itself as its encoder": (edit(text_config__model_type="hierbert"), "made of several models; "),
    "code of the Hub for the encoder": (
        edit(text_config__attn_implementation="evil/kernel"),
        r"text_config\.attn_implementation='evil/kernel' is not allowed",
    ),
    "other weights for the encoder": (
        edit(text_config__transformers_weights="evil.bin"),
        r"text_config\.transformers_weights names the file of its weights, which is not allowed",
    ),
    "hidden vectors of terabytes": (
        edit(text_config__hidden_size=10**9),
        "hidden_size=1000000000 is more than a model of these weights can have; at most",
    ),
    "a vocabulary of terabytes": (edit(text_config__vocab_size=10**12), "vocab_size=1000000000000"),
    "a billion layers": (edit(text_config__num_hidden_layers=10**9), "hidden_layers=1000000000"),
    "a billion layers above": (edit(aggregator_layers=10**9), "aggregator_layers=1000000000"),
    "a billion labels": (edit(num_labels=10**9), "num_labels=1000000000"),
    "layers that no file holds": (
        edit(text_config__intermediate_size=2_000_000),
        r"config\.json is of a larger model than its weights: they hold [\d,]+ numbers in",
    ),
    "a layer that no file holds": (
        edit(sentence_layers=2), r"lacks 12 weights, such as summarizer\.context\.layers\.1",
    ),
    "labels that no file holds": (
        edit(id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}),
        r"2 weights of another shape .*classifier.output.bias: \(3,\), where \(2,\) is needed",
    ),
    "thresholds of other labels": (
        edit(decision_thresholds=[0.5]), "decision_thresholds has 1 numbers for 3 labels",
    ),
    "thresholds that are text": (edit(decision_thresholds="low"), "decision_thresholds"),
    "a threshold that is no probability": (
        edit(decision_thresholds=[0.5, 2.0, 0.5]), r"decision_thresholds: 2\.0 is not allowed",
    ),
    "an abstention of several labels": (
        edit(abstain_below=0.5, problem_type="multi_label_classification"), "one label a document",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
    "a size that is text": (edit(text_config__hidden_size="32"), "hidden_size"),
    "a size below nothing": (edit(text_config__vocab_size=-5), "cannot be loaded"),
    "a method as a key": (edit(to_dict="x", validate_heads="y"), "'to_dict' is no setting"),
    "code for the tokenizer": (
        every(write("tokenizer_config.json", json.dumps(OWN_TOKENIZER)), modules("own.py")),
        "the tokenizer of model .* needs code of its own repository, which is not run",
    ),
    "code for the tokenizer, as it was written once": (
        every(write("tokenizer_config.json", '{"auto_map": ["o.O", "o.O"]}'), modules("o.py")),
        "the tokenizer of model .* needs code of its own repository, which is not run",
    ),
    "a tokenizer of zeros": (write("tokenizer.json", b"\x00" * 99), "the tokenizer of .* cannot"),
    "a tokenizer without words": (NO_WORDS, "has no vocabulary"),
    "a tokenizer of another model": (OTHER_WORDS, r"has a token 10,008, the model knows"),
    "a tokenizer with a word too many": (ONE_MORE_WORD, r"has a token (\d+), the model knows \1$"),
    "a tokenizer of lists in lists": (write("tokenizer.json", "[" * 50_000), "tokenizer"),
    "settings of a tokenizer in lists": (write("tokenizer_config.json", "[" * 50_000), "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED_MODELS)
def test_a_damaged_model_is_one_line_and_nothing_is_run(case, model, tmp_path, monkeypatch) -> None:
    damage, message = DAMAGED_MODELS[case]
    damage(model)
    if "of terabytes" in case or "billion" in case:
        built = lambda *args, **options: pytest.fail("it is being built")  # noqa: E731
        monkeypatch.setattr(HierBertForDocuments, "from_pretrained", built)
    documents = write_jsonl(tmp_path / "docs.jsonl", make_rows(2))
    before = sorted(os.listdir(tmp_path))
    arguments = ("--model", model, "--input", documents, "--output", tmp_path / "out.jsonl")
    # Whatever it may ask at the terminal, the answer is yes.
    line = refuse("infer.py", *arguments, here=True, stdin="y\ny\ny\n")
    assert re.search(message, line) and str(model) in line and len(line) < 700, line
    assert sorted(os.listdir(tmp_path)) == before, "neither output nor marker"


HARMLESS: dict[str, Damage] = {
    "pickles beside the weights": pickles(
        "pytorch_model.bin", "optimizer.pt", "vocab.pkl", "tokenizer.pkl", "training_args.bin"
    ),
    "code of a foreign repository": edit(auto_map=FOREIGN_CODE),
    "code for the encoder": every(edit(text_config__auto_map=FOREIGN_CODE), modules("own.py")),
    "classes of other names": edit(architectures=["os.system"], tokenizer_class="os.system"),
    "a tokenizer of no class": write("tokenizer_config.json", '{"tokenizer_class": "os.system"}'),
    "modules named like the libraries": modules("torch.py", "transformers.py", "hierbert.py"),
    "processors of their own": every(
        write("processor_config.json", '{"auto_map": {"AutoProcessor": "own.Own"}}'),
        modules("own.py"),
    ),
    "links as in the Hub's cache": lambda folder: [
        (path.rename(folder.parent / f"blob-{path.name}"), path.symlink_to(f"../blob-{path.name}"))
        for path in list(folder.iterdir())
    ],
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_not_needed_is_not_read(case, model, labels, monkeypatch) -> None:
    HARMLESS[case](model)
    monkeypatch.chdir(model)
    # Special tokens that a tokenizer's settings no longer name do not stand in these texts.
    assert probabilities(model) == pytest.approx(labels, abs=1e-6)
    assert not marker_of(model).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_honest_folders_pass(encoders, kind, tmp_path) -> None:
    """Of every kind of encoder, whole and in shards: what is refused above is not refused there."""
    model, processor = build(encoders[kind])
    expected = HierBert(model, processor).classify(TEXTS)
    for size in ("1GB", "40KB"):
        model.save_pretrained(tmp_path / size, max_shard_size=size)
        processor.save_pretrained(tmp_path / size)
        found = HierBert.from_pretrained(tmp_path / size, device="cpu").classify(TEXTS)
        for one, other in zip(found, expected, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert len(list((tmp_path / "40KB").glob("model-*.safetensors"))) > 1
    HierBert.from_encoder(encoders[kind], device="cpu")


def test_the_payloads_do_run_where_they_are_asked_to(model) -> None:
    """Else the tests above could not fail."""
    pickles("a.bin")(model)
    pickle.loads((model / "a.bin").read_bytes())
    marker_of(model).rmdir()
    modules("own.py")(model)
    exec((model / "own.py").read_text())
    assert marker_of(model).exists()


# What an encoder's folder is refused for, beside what holds for any folder.
DAMAGED_ENCODERS: dict[str, tuple[Damage, str]] = {
    **{name: case for name, case in DAMAGED_WEIGHTS.items() if name != "a number of 5000 digits"},
    "code of its own": (
        every(edit(model_type="own", auto_map=FOREIGN_CODE), modules("own.py")),
        "model_type 'own' is none that transformers knows by itself; code of its own repository",
    ),
    "no kind": (write("config.json", "{}"), "model_type None is none that"),
    "a whole model": (edit(model_type="hierbert", text_config={}), "encoder"),
    "hidden vectors of terabytes": (edit(hidden_size=10**9), "hidden_size=1000000000 is more than"),
    "layers that no file holds": (edit(intermediate_size=2_000_000), "is of a larger model than"),
    "a layer that no file holds": (edit(num_hidden_layers=3), "lacks 16 weights of its config"),
    "another shape": (edit(intermediate_size=65), "files are damaged or do not go together"),
    "a key of the class": (edit(use_return_dict=1), "model.encoder="),
    "a tokenizer of zeros": (
        write("tokenizer.json", b"\x00" * 99),
        "the tokenizer of model.encoder=",
    ),
    "a tokenizer without words": (NO_WORDS, "has no vocabulary"),
    "only pickles": (
        every(pickles("pytorch_model.bin"), lambda f: (f / "model.safetensors").unlink()),
        "pytorch_model.bin is not read",
    ),
}


@pytest.mark.parametrize("case", DAMAGED_ENCODERS)
def test_a_damaged_encoder_is_one_line_and_nothing_is_run(case, encoder, tmp_path) -> None:
    damage, message = DAMAGED_ENCODERS[case]
    damage(encoder)
    line = refuse("train.py", *training(encoder, tmp_path), here=True)
    assert re.search(message, line) and "encoder" in line and len(line) < 800, line
    assert not marker_of(encoder).exists() and not (tmp_path / "run").exists()


def training(encoder: Path, folder: Path) -> list[str]:
    rows = write_jsonl(folder / "train.jsonl", make_rows(8, seed=1))
    return [
        f"data.train={rows}", "data.label_column=label", f"model.encoder={encoder}",
        f"run_dir={folder / 'run'}", "model.aggregator_layers=1", "training.epochs=1",
        "segmentation.max_tokens_per_segment=32", "baselines=false",
    ]  # fmt: skip


def test_an_encoder_with_code_beside_it_trains_and_none_is_run(encoder, tmp_path, monkeypatch):
    every(
        edit(auto_map=FOREIGN_CODE),
        pickles("pytorch_model.bin", "training_args.bin"),
        write("tokenizer_config.json", json.dumps(OWN_TOKENIZER)),
        modules("own.py", "torch.py"),
    )(encoder)
    monkeypatch.chdir(encoder)
    succeed("train.py", *training(encoder, tmp_path), here=True)
    assert not marker_of(encoder).exists()
    assert "auto_map" not in json.loads((tmp_path / "run/model/tokenizer_config.json").read_text())


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 70), st.sampled_from([10**6, 2**63, -(10**9)]),
    st.floats(), st.text(max_size=5), st.just([]), st.just({}), st.just([None, -1]),
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(whole, tmp_path_factory.mktemp("fuzzed") / "model"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_settings_load_or_are_refused_in_one_line(whole, fuzzed, data) -> None:
    config = json.loads((whole / "config.json").read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        inner = data.draw(st.sampled_from([config, config["text_config"]]))
        if isinstance(inner, dict):
            inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(VALUES)
        if not isinstance(config["text_config"], dict):
            break
    (fuzzed / "config.json").write_text(json.dumps(config))
    try:
        predictor = HierBert.from_pretrained(fuzzed, device="cpu")
    except HierBertError as error:
        assert "\n" not in str(error) and len(str(error)) < 700
        return
    try:
        for found in predictor.predict(TEXTS, ("classify",)):
            assert all(math.isfinite(value) for value in (found.probabilities or {}).values())
    except HierBertError as error:
        assert "\n" not in str(error)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_weights_with_any_byte_changed_load_or_are_refused(whole, fuzzed, changes) -> None:
    shutil.copy(whole / "config.json", fuzzed / "config.json")
    raw = bytearray((whole / "model.safetensors").read_bytes())
    for place, value in changes:
        raw[place] = value
    (fuzzed / "model.safetensors").write_bytes(raw)
    try:
        HierBert.from_pretrained(fuzzed, device="cpu")
    except HierBertError as error:
        assert "\n" not in str(error)
    finally:
        shutil.copy(whole / "model.safetensors", fuzzed / "model.safetensors")
