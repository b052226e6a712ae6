"""Tiny models that write: one that always says the same words, and one that says anything."""

from pathlib import Path

import torch
from conftest import make_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)


def save_sayer(folder: Path, words: str, positions: int = 256) -> Path:
    """A causal model that says these words, no two of them equal, whatever it is asked.

    What ends with one of the words is gone on with from there.
    """
    said = words.split()
    assert len({*said}) == len(said)
    vocabulary = {word: number for number, word in enumerate(["</s>", "<unk>", *said])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    size = len(vocabulary)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=size,
            n_positions=positions,
            n_embd=size,
            n_layer=1,
            n_head=1,
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "ln_" not in name:
                weight.zero_()
        model.transformer.wte.weight.copy_(torch.eye(size))
        # Of each token the one that follows it.
        follows = [2, 2, *range(3, size), 0]
        model.lm_head.weight[follows, range(size)] = 1.0
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="</s>",
        model_max_length=positions,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_babbler(folder: Path) -> Path:
    """An encoder-decoder of random weights."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer("roberta")
    tokens = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1,
                 num_heads=2, **tokens)
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
