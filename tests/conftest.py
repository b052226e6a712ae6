"""Tiny encoders and corpora, made in memory; nothing here needs the network."""

import gc
import logging
import os
import random
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedTokenizerFast

torch.set_num_threads(1)

# The same examples in each run: whether a change passes hangs on the change alone. New ones are
# looked for on purpose: pytest --hypothesis-profile explore
settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("fixed")


@pytest.fixture(scope="module", autouse=True)
def _collect_only_what_is_new() -> None:
    """Training collects garbage at its end: a second each time, were the libraries looked at."""
    gc.collect()
    gc.freeze()


class _StandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        print(level + record.getMessage(), file=sys.stderr)


@pytest.fixture(autouse=True)
def _log_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested without its command line writes its log where the command line would."""
    log = logging.getLogger("hierbert")
    log.setLevel(logging.INFO)
    monkeypatch.setattr(log, "handlers", [_StandardError()])
    monkeypatch.setattr(log, "propagate", False)


WORDS = [
    "the", "a", "of", "and", "to", "in", "is", "was", "it", "for", "on", "that", "with", "as",
    "by", "at", "from", "court", "contract", "paper", "model", "data", "film", "good", "bad",
    "great", "awful", "plot", "actor", "law", "judge", "party", "clause", "token", "word",
    "segment", "document", "summary", "label", "train", "test", "red", "green", "blue", "cat",
    "dog", "bird", "fish", "sun", "moon", "star", "river", "hill", "tree",
]  # fmt: skip
HIDDEN = 32
KINDS = ("bert", "roberta", "distilbert", "mpnet", "modernbert")
MOST_TOKENS = {
    "roberta": 514,
    "mpnet": 514,
    "modernbert": 1024,
    "longformer": 1026,
    "big_bird": 1024,
}


def make_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """WordPiece with [CLS] and [SEP] for BERT and DistilBERT, byte-level BPE with <s> else."""
    if kind in ("bert", "distilbert"):
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
        pieces = [*special, *letters, *(f"##{letter}" for letter in letters)]
        # Single letters are there already: a vocabulary has no gaps.
        pieces += [word for word in WORDS if len(word) > 1]
        vocab = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocab = {piece: number for number, piece in enumerate([*special, *alphabet])}
        tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        names = dict(zip(("cls", "pad", "sep", "unk", "mask"), special, strict=True))
    cls, sep = names["cls"], names["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        special_tokens=[(cls, vocab[cls]), (sep, vocab[sep])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": token for name, token in names.items()}
    )


def make_encoder_config(kind: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    """Two layers of 32 dimensions."""
    own: dict[str, Any] = {"intermediate_size": 64}
    if kind == "distilbert":
        own = {"hidden_dim": 64}
    elif kind == "modernbert":
        own |= {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
        own |= {"bos_token_id": None, "eos_token_id": None}
    elif kind == "longformer":
        own |= {"attention_window": 16}
    elif kind == "big_bird":
        own |= {"block_size": 16, "num_random_blocks": 1}
    return AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MOST_TOKENS.get(kind, 512),
        **own,
    )


def save_encoder(folder: Path, kind: str = "bert", seed: int = 0) -> Path:
    """A pretrained encoder as a folder: weights and tokenizer."""
    tokenizer = make_tokenizer(kind)
    torch.manual_seed(seed)
    encoder = AutoModel.from_config(make_encoder_config(kind, tokenizer))
    # Larger than a fresh model's weights, so that differences show in the outputs.
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.15)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind of encoder."""
    root = tmp_path_factory.mktemp("encoders")
    return {kind: save_encoder(root / kind, kind) for kind in KINDS}


def make_text(chance: random.Random, sentences: int, topic: list[str] | None = None) -> str:
    """Sentences of known words, half of them of a topic where one is given."""
    made = []
    for _ in range(sentences):
        pools = [WORDS, topic or WORDS]
        words = [chance.choice(chance.choice(pools)) for _ in range(chance.randint(3, 12))]
        made.append(" ".join(words).capitalize() + ".")
    return " ".join(made)


def make_rows(count: int, seed: int = 0, sentences: int = 8) -> list[dict[str, object]]:
    """Documents with a label that their words decide and one of their sentences as summary."""
    chance = random.Random(seed)
    rows: list[dict[str, object]] = []
    for number in range(count):
        label = ("law", "film")[number % 2]
        key = {"law": "Judge court law contract.", "film": "Actor film plot good."}[label]
        topic = {"law": ["clause", "party", "contract"], "film": ["great", "awful", "bad"]}[label]
        body = make_text(chance, chance.randint(2, sentences), topic)
        text = f"{body} {key} {make_text(chance, 2)}"
        rows.append({"id": f"d{number}", "text": text, "label": label, "summary": key})
    return rows


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing here reads or fills the user's cache."""
    caches = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIERBERT_CACHE", str(caches / "of_all"))
        yield caches


@pytest.fixture(scope="module", autouse=True)
def _cache_of_the_module(_cache_of_the_tests: Path) -> Iterator[None]:
    """What is made for all tests of a module finds nothing that another module has cached."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIERBERT_CACHE", str(_cache_of_the_tests / uuid.uuid4().hex))
        yield


@pytest.fixture(autouse=True)
def _own_cache(_cache_of_the_tests: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another has cached: the order of tests is nobody's business."""
    monkeypatch.setenv("HIERBERT_CACHE", str(_cache_of_the_tests / uuid.uuid4().hex))
