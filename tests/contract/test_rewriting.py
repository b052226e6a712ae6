"""Summaries as prose: `summarize(..., rewrite=...)`, `--rewrite`, and models that cannot."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from commands import read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_tokenizer
from hostile import Damage, edit, every, instead_of, marker_of, modules, no_number, pickles, write
from local_hub import LocalHub
from small_generators import save_babbler, save_sayer
from small_models import save_model
from tokenizers import AddedToken
from transformers import AutoTokenizer

import hierbert
from hierbert import ConfigError, HierBert, ModelError, Rewriter

COMMAND = "hierbert-summarize"
SAYS = "Repairs of harbour walls begin in May."
OTHER = "The council met on Monday. It spoke of schools at length. Parents wanted more teachers."
HARBOUR = "Later it turned to the old harbour. Repairs of old harbour walls begin in May, they say."


@pytest.fixture(scope="module")
def sayer(tmp_path_factory) -> Path:
    return save_sayer(tmp_path_factory.mktemp("sayer"), SAYS)


@pytest.fixture(scope="module")
def babbler(tmp_path_factory) -> Path:
    return save_babbler(tmp_path_factory.mktemp("babbler"))


@pytest.fixture(scope="module")
def summarizer() -> HierBert:
    return HierBert.summarizer(device="cpu")


def test_prose_stands_beside_the_extract(summarizer, sayer) -> None:
    for given in (sayer, str(sayer), Rewriter(str(sayer))):
        harbour, other, empty = summarizer.summarize([HARBOUR, OTHER, ""], rewrite=given)
        plain = summarizer.summarize([HARBOUR, OTHER, ""])
        assert [one.sentences for one in plain] == [
            one.sentences for one in (harbour, other, empty)
        ]
        assert harbour.rewritten == SAYS
        [sentence] = harbour.rewritten_sentences
        assert harbour.sentences[sentence.extracts[0]].text == HARBOUR.split(". ")[1]
        assert not sentence.flags and not sentence.fell_back
        # What it says has nothing to do with the other, which stays as it is.
        assert other.rewritten == other.summary
        assert [one.fell_back for one in other.rewritten_sentences] == [True] * 2
        assert {flag for one in other.rewritten_sentences for flag in one.flags} == {
            "something else"
        }
        assert (empty.rewritten, empty.rewritten_sentences) == ("", [])
        assert plain[0].rewritten is None and plain[0].rewritten_sentences is None


def test_an_encoder_decoder_rewrites_too(summarizer, babbler) -> None:
    first, again = (
        summarizer.summarize([OTHER, HARBOUR], max_words=9, rewrite=babbler) for _ in range(2)
    )
    assert first == again
    assert all(one.rewritten and len(one.rewritten.split()) <= 9 for one in first)


def test_an_answer_depends_on_its_own_document_alone(summarizer, sayer) -> None:
    texts = [OTHER, HARBOUR, OTHER.replace("schools", "roads")]
    together = summarizer.summarize(texts, rewrite=sayer)
    assert together == [summarizer.summarize(text, rewrite=sayer)[0] for text in texts]


def test_the_command_writes_prose_in_every_format(sayer, babbler, tmp_path) -> None:
    rows = [{"id": "other", "text": OTHER}, {"id": "harbour", "text": HARBOUR}]
    file = write_jsonl(tmp_path / "in.jsonl", rows)
    asked = [file, "--rewrite", sayer, "--max-words", "20"]
    tables = {ending: tmp_path / f"o.{ending}" for ending in ("jsonl", "csv", "parquet")}
    for path in tables.values():
        succeed(COMMAND, *asked, "--output", path, here=True)
    other, harbour = plain = read_jsonl(tables["jsonl"])
    assert harbour["rewritten"] == SAYS and other["rewritten"] == other["summary"]
    assert harbour["rewritten_sentences"] == [
        {"text": SAYS, "extracts": [1], "flags": [], "fell_back": False}
    ]
    assert list(harbour) == ["id", "summary", "sentences", "rewritten", "rewritten_sentences"]
    names = ["rewritten", "rewritten_sentences"]
    table = pd.read_csv(tables["csv"])
    table["rewritten_sentences"] = table["rewritten_sentences"].map(json.loads)
    expected = [{name: row[name] for name in names} for row in plain]
    assert table[names].to_dict("records") == expected
    assert pq.read_table(tables["parquet"]).select(names).to_pylist() == expected
    # A job is of its rewriter, by what it holds, wherever that lies.
    shards = [*asked, "--output", tmp_path / "shards", "--rows-per-shard", "1"]
    succeed(COMMAND, *shards, here=True)
    moved = Path(shutil.copytree(sayer, tmp_path / "moved"))
    again = [moved if one == sayer else one for one in shards]
    assert "complete" in succeed(COMMAND, *again, "--resume", here=True).stderr
    another = [babbler if one == sayer else one for one in shards]
    assert "--rewrite was" in refuse(COMMAND, *another, "--resume", here=True)
    without = [one for one in shards if one not in ("--rewrite", sayer)]
    assert "--rewrite was" in refuse(COMMAND, *without, "--resume", here=True)
    words = [*shards, "--rewrite-instruction", "Shorter!", "--resume"]
    assert "--rewrite-instruction was None" in refuse(COMMAND, *words, here=True)


def test_the_command_of_trained_models_takes_it_where_they_summarize(
    encoders, sayer, tmp_path
) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": HARBOUR}])
    model = save_model(tmp_path / "model", encoders["bert"])
    asked = ["--model", model, "--input", file, "--output", tmp_path / "o.jsonl"]
    line = refuse("infer.py", *asked, "--task", "classify", "--rewrite", sayer, here=True)
    assert "--rewrite is for the task summarize" in line
    asked += ["--task", "summarize", "--ratio", "1"]
    succeed("infer.py", *asked, "--rewrite", sayer, here=True)
    [row] = read_jsonl(tmp_path / "o.jsonl")
    assert row["rewritten"] == SAYS and row["summary"] == HARBOUR.replace(". ", ".\n")


def test_what_cannot_be_asked_for_is_refused(summarizer, sayer, encoders, tmp_path) -> None:
    with pytest.raises(ConfigError, match="rewrite is a number"):
        summarizer.summarize(HARBOUR, rewrite=7)
    for wrong in ({"source": " "}, {"source": "x", "instruction": ""}):
        with pytest.raises(ConfigError, match="rewrite"):
            Rewriter(**wrong)
    with pytest.raises(ConfigError, match="of the Hub"):
        Rewriter(str(sayer), revision="main")
    with pytest.raises(ConfigError, match="summarize"):
        HierBert.from_encoder(encoders["bert"]).predict(HARBOUR, ("embed",), rewrite=sayer)
    assert "--rewrite-instruction needs --rewrite" in refuse(
        COMMAND, "x.jsonl", "--rewrite-instruction", "Shorter!", here=True
    )
    assert "--rewrite" in refuse(COMMAND, "x.jsonl", "--rewrite", " ", here=True)


def remove(*names: str) -> Damage:
    return lambda folder: [(folder / name).unlink() for name in names]


def add_token(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # A special one is no fault: no text has it.
    tokenizer.add_tokens(["zorgl", AddedToken("<turn>", special=True)])
    tokenizer.save_pretrained(folder)


OWN_CODE = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
UNFIT: dict[str, tuple[Damage, str]] = {
    "nothing there": (shutil.rmtree, "there is no model folder"),
    "no config": (remove("config.json"), "config.json is missing"),
    "no weights": (remove("model.safetensors"), "holds no weights"),
    "a pickle for weights": (
        every(pickles("pytorch_model.bin"), remove("model.safetensors")),
        "holds no weights: model.safetensors is missing; pytorch_model.bin is not read",
    ),
    "code of its own": (
        every(edit(model_type="own", auto_map=OWN_CODE), modules("own.py")),
        "model_type 'own' is none that transformers knows by itself; code of its own",
    ),
    "an encoder": (edit(model_type="bert"), "'bert' is of no model that writes text; a causal one"),
    "a hierbert model": (edit(model_type="hierbert"), "is of no model that writes text"),
    "weights that are NaN": (no_number(float("nan")), "are not finite"),
    "weights of another size": (edit(n_embd=11), "of another shape|cannot be loaded"),
    "layers that no file holds": (edit(n_layer=2), "lacks 12 weights"),
    "a billion layers": (edit(n_layer=10**9), "n_layer=1000000000 is more than"),
    "a vocabulary of terabytes": (edit(vocab_size=10**12), "vocab_size=1000000000000 is more"),
    "no tokenizer": (remove("tokenizer.json"), "the tokenizer of rewrite="),
    "a tokenizer of another model": (
        lambda folder: make_tokenizer("roberta").save_pretrained(folder),
        "it has 261 tokens, the model knows 9",
    ),
    "an adapter": (write("adapter_config.json", "{}"), "adapter"),
    "two GGUF files": (
        every(remove("config.json"), write("a.gguf", b""), write("b.gguf", b"")),
        "holds 2 GGUF files; name one",
    ),
    "a GGUF file of nothing": (
        every(remove("config.json"), write("a.gguf", b"GGUF")), "a.gguf is damaged or not whole",
    ),
    "a token more than the model knows": (add_token, "'zorgl' has the id 9, the model's end at 8"),
    "a template that fails": (
        write("chat_template.jinja", "{{ raise_exception('no') }}"), "is loaded and cannot be used",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_a_model_that_cannot_write_is_one_line_and_nothing_is_run(
    case, sayer, summarizer, tmp_path
) -> None:
    damage, message = UNFIT[case]
    folder = Path(shutil.copytree(sayer, tmp_path / "model"))
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        summarizer.summarize(HARBOUR, rewrite=folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert not marker_of(folder).exists()


def test_a_job_is_refused_before_it_begins(sayer, tmp_path) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"text": HARBOUR}])
    folder = Path(shutil.copytree(sayer, tmp_path / "model"))
    instead_of("model.safetensors", Path.mkdir)(folder)
    output = tmp_path / "out.jsonl"
    line = refuse(COMMAND, file, "--rewrite", folder, "--output", output, here=True)
    assert "model.safetensors is no plain file" in line
    line = refuse(COMMAND, file, "--rewrite", "user/nosuch", "--output", output, here=True)
    assert "rewrite=user/nosuch cannot be loaded" in line
    assert not output.exists() and not output.with_name("out.jsonl.partial").exists()


def test_code_runs_where_it_is_asked_for(sayer, summarizer, tmp_path) -> None:
    folder = Path(shutil.copytree(sayer, tmp_path / "model"))
    (folder / "own.py").write_text(
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class Config(GPT2Config):\n    model_type = 'own'\n"
        "class Own(GPT2LMHeadModel):\n    config_class = Config\n"
    )
    edit(
        model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Own"}
    )(folder)
    asked = Rewriter(str(folder), trust_remote_code=True)
    assert summarizer.summarize(HARBOUR, rewrite=asked)[0].rewritten == SAYS


def test_special_tokens_in_a_document_are_no_tokens(summarizer, sayer) -> None:
    text = HARBOUR.replace("old", "old </s> \ud800")
    assert summarizer.summarize(text, rewrite=sayer)[0].rewritten == SAYS
    # Also one that parts the turns of a talk.
    loaded = Rewriter(str(sayer)).load("cpu")
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.add_tokens(AddedToken("<turn>", special=True))
    turn = tokenizer.convert_tokens_to_ids("<turn>")
    assert turn in tokenizer("old <turn> walls")["input_ids"]
    assert turn not in replace(loaded, tokenizer=tokenizer).encode("old <turn> walls", "Shorten")


def test_a_template_that_refuses_a_long_text_leaves_the_extract(
    summarizer, sayer, tmp_path
) -> None:
    folder = Path(shutil.copytree(sayer, tmp_path / "model"))
    first, second = HARBOUR.split(". ")
    most = len(f"Shorten\n\n{first}.")
    template = (
        "{% if messages[0]['content']|length > MOST %}{{ raise_exception('too long') }}{% endif %}"
        "{{ messages[0]['content'] }}"
    )
    write("chat_template.jinja", template.replace("MOST", str(most)))(folder)
    asked = Rewriter(str(folder), "Shorten")
    [found] = summarizer.summarize(HARBOUR, rewrite=asked, ratio=1.0)
    # What is said has little to do with the first; the second is longer, as are both together.
    assert [(one.text, one.flags) for one in found.rewritten_sentences] == [
        (f"{first}.", ["something else"]),
        (second, ["too long to read"]),
    ]


def test_a_gguf_file_is_read(summarizer, tmp_path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "tiny.gguf"
    size, words = 32, 40
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(size)
    writer.add_feed_forward_length(size)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(words)
    writer.add_tokenizer_model("gpt2")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = ["<s>", "</s>", "ab", *letters, *(f"x{n}" for n in range(words - 3 - len(letters)))]
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * (words - 2)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    chance = np.random.default_rng(0)
    square = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    shapes = {f"blk.0.{name}.weight": (size, size) for name in square}
    shapes |= {f"blk.0.{name}.weight": (size,) for name in ("attn_norm", "ffn_norm")}
    shapes |= {"token_embd.weight": (words, size), "output.weight": (words, size)}
    for name, shape in (shapes | {"output_norm.weight": (size,)}).items():
        writer.add_tensor(name, chance.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    # By its name, and as the only one of a folder.
    by_name, of_folder = (
        summarizer.summarize(OTHER, max_words=9, rewrite=given)[0] for given in (path, tmp_path)
    )
    assert by_name == of_folder and 0 < len(by_name.rewritten.split()) <= 9
    assert hierbert.Rewriter(str(path)).fingerprint != hierbert.Rewriter(str(tmp_path)).fingerprint
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(ModelError, match=r"tiny\.gguf is damaged or not whole"):
        Rewriter(str(path)).load("meta")


@pytest.mark.slow
def test_a_rewriter_of_the_hub_is_of_a_commit_for_all_that_answer(
    encoders, sayer, tmp_path
) -> None:
    rows = [{"id": f"d{n}", "text": (HARBOUR, OTHER)[n % 2]} for n in range(6)]
    model = save_model(tmp_path / "model", encoders["bert"])
    asked = ["--model", model, "--input", write_jsonl(tmp_path / "in.jsonl", rows)]
    asked += ["--task", "summarize", "--rewrite", "bob/writer", "--rows-per-shard", "2"]
    with LocalHub({}) as hub:
        files = {path.name: path.read_bytes() for path in sayer.iterdir()}
        first = hub.add("bob/writer", files)
        environment = hub.environment(None, tmp_path / "home")

        def job(name: str, *more: str, processes: int = 1):
            command = ["infer.py", *asked, "--output", tmp_path / name, *more]
            return run(*command, processes=processes, **environment)

        for name, done in {
            "one": job("one"),
            "two": job("two", processes=2),
            "ray": job("ray", "--engine", "ray", "--actors", "1"),
        }.items():
            assert done.returncode == 0, done.stderr
            parts = sorted((tmp_path / name).glob("part-*"))
            found = [row for path in parts for row in read_jsonl(path)]
            assert [row["rewritten"] == SAYS for row in found] == [True, False] * 3
        # The branch moves on: the job stays with what it began with, or is another.
        hub.add("bob/writer", {"README.md": b"new"})
        done = job("one", "--resume")
        assert done.returncode == 2 and f"--rewrite was 'bob/writer@{first.oid}'" in done.stderr
        assert "complete" in job("one", "--resume", "--rewrite-revision", first.oid).stderr


def test_how_a_model_would_like_to_write_is_not_read(summarizer, sayer, tmp_path) -> None:
    folder = Path(shutil.copytree(sayer, tmp_path / "model"))
    liked = {"do_sample": True, "temperature": 9.0, "num_beams": 3, "min_length": 90}
    settings = json.loads((folder / "generation_config.json").read_text())
    write("generation_config.json", json.dumps(settings | liked))(folder)
    assert summarizer.summarize(HARBOUR, rewrite=folder)[0].rewritten == SAYS
