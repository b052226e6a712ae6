"""Documents that stand in two splits, where they make figures too good."""

import hashlib
from collections.abc import Mapping, Sequence

from hierbert.data.document import Example, words_of
from hierbert.log import log


def text_digest(example: Example) -> bytes:
    """Equal for documents of the same words, however they are cut."""
    words = " ".join(words_of(example.text)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(words, digest_size=16).digest()


def warn_of_repeated(splits: Mapping[str, Sequence[Example]]) -> None:
    """Name documents that are in two splits: what is measured on them is too good."""
    seen: dict[bytes, tuple[str, str]] = {}
    for name, examples in splits.items():
        found: dict[str, list[str]] = {}
        for example in examples:
            split, location = seen.setdefault(text_digest(example), (name, example.location))
            if split != name and any(words_of(example.text)):
                found.setdefault(split, []).append(f"{example.location} is {location}")
        for split, places in found.items():
            more = f" and {len(places) - 3:,} more" if len(places) > 3 else ""
            log.warning(
                f"{name}: {len(places):,} documents stand in {split} too, so that scores on them "
                f"say little: {'; '.join(places[:3])}{more}"
            )
