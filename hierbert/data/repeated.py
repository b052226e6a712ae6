"""Documents that stand in two splits, where they make figures too good."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from hierbert.data.document import Example, words_of
from hierbert.log import log


def text_digest(example: Example) -> bytes:
    """Equal for documents of the same words, however they are cut."""
    words = " ".join(words_of(example.text)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(words, digest_size=16).digest()


def repeated_documents(
    splits: Mapping[str, Sequence[Example]],
) -> Iterator[tuple[str, str, list[tuple[Example, Example]]]]:
    """Of each split and one before it the documents that are in both, each with its first."""
    seen: dict[bytes, tuple[str, Example]] = {}
    for name, examples in splits.items():
        found: dict[str, list[tuple[Example, Example]]] = {}
        for example in examples:
            split, first = seen.setdefault(text_digest(example), (name, example))
            if split != name and any(words_of(example.text)):
                found.setdefault(split, []).append((example, first))
        for split, pairs in found.items():
            yield name, split, pairs


def warn_of_repeated(splits: Mapping[str, Sequence[Example]]) -> None:
    """Name documents that are in two splits: what is measured on them is too good."""
    for name, split, pairs in repeated_documents(splits):
        places = [f"{one.location} is {first.location}" for one, first in pairs[:3]]
        more = f" and {len(pairs) - 3:,} more" if len(pairs) > 3 else ""
        log.warning(
            f"{name}: {len(pairs):,} documents stand in {split} too, so that scores on them "
            f"say little: {'; '.join(places)}{more}"
        )
