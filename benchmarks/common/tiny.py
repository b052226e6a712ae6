"""A BERT so small that reading costs less than starting a process, made here from a seed.

For benchmarks of what is lost, doubled or held, not of speed or answers.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from benchmarks.common.models import save_model

_WORDS = [f"{first}{second}{third}" for first in "bdklmnprst" for second in "aeiou" for third in
          ("", "n", "r", "s", "t")]  # fmt: skip
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ","]
_HIDDEN = 32


def save_tiny_encoder(folder: Path, seed: int) -> Path:
    """A BERT of one layer with a tokenizer that knows the words of `make_text`."""
    vocabulary = {word: number for number, word in enumerate([*_SPECIAL, *_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=_HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * _HIDDEN,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    fast.save_pretrained(folder)
    return folder


def save_tiny_model(folder: Path, seed: int) -> Path:
    """A classifier around such an encoder, as `HierBertPredictor` reads it."""
    encoder = save_tiny_encoder(folder / "encoder", seed)
    return save_model(str(encoder), folder / "model", seed, summarization=False)


def make_text(chance: random.Random, words: int) -> str:
    """So many words, in sentences of about a dozen."""
    return " ".join(_sentences(chance, words))


def _sentences(chance: random.Random, words: int) -> Iterator[str]:
    while words > 0:
        length = min(words, chance.randint(6, 18))
        yield " ".join(chance.choices(_WORDS, k=length)).capitalize() + "."
        words -= length
