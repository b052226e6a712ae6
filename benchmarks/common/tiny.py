"""An encoder of two small layers and documents of its words, made from a seed and nothing else."""

import json
import random
from pathlib import Path

HIDDEN = 32
TOPICS = {
    "law": ("court", "judge", "contract", "clause", "party"),
    "film": ("actor", "plot", "scene", "camera", "story"),
}
COMMON = ("the", "a", "of", "and", "to", "in", "was", "it", "for", "on", "that", "with", "river")


def make_encoder(folder: Path, seed: int) -> Path:
    """Save a BERT of two layers at random weights, with dropout, and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({*COMMON, *(word for topic in TOPICS.values() for word in topic), ".", "id"})
    digits = [*"0123456789", *(f"##{digit}" for digit in range(10))]
    vocabulary = {piece: number for number, piece in enumerate([*special, *words, *digits])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    torch.manual_seed(seed)
    encoder = BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * HIDDEN,
            max_position_embeddings=128,
        )
    )
    encoder.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": token for name, token in names.items()}
    ).save_pretrained(folder)
    return folder


def make_documents(path: Path, count: int, seed: int, longest_sentences: int = 12) -> Path:
    """Write labelled documents of very different lengths, one JSON object a line.

    One of twenty may have four times as many sentences as the others.
    """
    chance = random.Random(f"documents {seed}")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number in range(count):
            label = chance.choice(sorted(TOPICS))
            most = longest_sentences * (4 if number % 20 == 7 else 1)
            sentences = [f"Id {number}."]
            for _ in range(chance.randint(1, most)):
                words = chance.choices([*COMMON, *TOPICS[label]], k=chance.randint(3, 12))
                sentences.append(" ".join(words).capitalize() + ".")
            row = {"id": f"d{number}", "text": " ".join(sentences), "label": label}
            file.write(json.dumps(row) + "\n")
    return path


def make_text(chance: random.Random, words: int) -> str:
    """So many words of the encoder's, in sentences of about a dozen."""
    every = [*COMMON, *(word for topic in TOPICS.values() for word in topic)]
    sentences = []
    while words > 0:
        length = min(words, chance.randint(6, 18))
        sentences.append(" ".join(chance.choices(every, k=length)).capitalize() + ".")
        words -= length
    return " ".join(sentences)
