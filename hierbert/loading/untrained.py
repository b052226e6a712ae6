"""Models that summarize without any training, around an encoder or without one."""

from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, PreTrainedTokenizerFast

from hierbert.errors import ConfigError, not_allowed
from hierbert.loading.building import build_from_encoder, naming_settings
from hierbert.model.central_sentences import scores_by
from hierbert.model.central_words import METHODS
from hierbert.model.configuration_hierbert import HierBertConfig, fields_of_heads
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

# In the place of a config's own defaults, which are those of models that were trained before there
# were others.
_DEFAULTS = {"summary_redundancy": 0.5, "summary_min_words_per_sentence": 5}


def build_summarizer(
    encoder: str | None, revision: str | None, method: str | None, settings: dict[str, Any]
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """Build a model whose sentence scores are computed: of words, or of an encoder's vectors.

    Without an encoder it reads words alone, and has no weights. The method is one of `METHODS`;
    None for LexRank of words, and the centroid of vectors. `settings` are further fields of the
    config. Else, and in what it raises, it is as `build_from_encoder`.
    """
    if encoder is not None and not encoder.strip():
        raise ConfigError(
            "is blank", setting="encoder", value=encoder, allowed="a folder or a name of the Hub"
        )
    method = method or ("lexrank" if encoder is None else "centroid")
    if method not in METHODS:
        raise not_allowed("method", method, ", ".join(METHODS))
    own = fields_of_heads(["summarization"]) | _DEFAULTS
    own |= scores_by(method, vectors=encoder is not None) | {"aggregator_layers": 0} | settings
    if encoder is not None:
        return build_from_encoder(encoder, revision, f"encoder {encoder}", own)
    if revision is not None:
        raise ConfigError("is for an encoder, and none is given", setting="revision")
    tokenizer = _word_tokenizer()
    # An encoder without layers: everything that reads models reads this one.
    text_config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=0,
        num_attention_heads=1,
        intermediate_size=8,
        pad_token_id=tokenizer.pad_token_id,
    )
    with naming_settings():
        model = HierBertForDocuments(HierBertConfig(text_config=text_config, **own)).eval()
        # Not what was drawn, so that it is the same model each time.
        for weight in model.parameters():
            torch.nn.init.zeros_(weight)
        return model, HierBertProcessor.from_config(tokenizer, model.config)


def _word_tokenizer() -> PreTrainedTokenizerFast:
    """Words and marks as tokens, each letter in scripts without spaces; it tells none apart."""
    # A vocabulary of special tokens alone is taken for a missing one.
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
