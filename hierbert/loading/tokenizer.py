"""The tokenizer of an encoder or a model."""

from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hierbert.errors import ModelError, error_text


def load_tokenizer(source: str, place: str, **hub: Any) -> PreTrainedTokenizerBase:
    """Load a tokenizer; what loads without complaint and then reads nothing is a ModelError.

    `place` is what messages call its owner, such as ``model.encoder=bert-base-uncased``.
    """
    try:
        # Said, lest transformers ask at the terminal whether code may run.
        tokenizer = AutoTokenizer.from_pretrained(source, **{"trust_remote_code": False, **hub})
    # A damaged tokenizer.json brings KeyErrors, and the Rust library's bare Exceptions.
    except Exception as error:
        why = error_text(error)
        if "trust_remote_code" in str(error):
            why = "it needs code of its own repository, which is not run"
        raise ModelError(f"the tokenizer of {place} cannot be loaded: {why}") from error
    # Without its files a tokenizer is made of nothing but special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"the tokenizer of {place} has no vocabulary: tokenizer.json is missing or empty"
        )
    return tokenizer
