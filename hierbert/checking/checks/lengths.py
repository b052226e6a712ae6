"""How long documents are, in the encoder's tokens, and what a model of 512 tokens would not see."""

import math
from collections.abc import Iterable
from typing import Any

from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding
from hierbert.data.repeated import text_digest

# What most encoders read at once.
SHORT_MODEL = 512
# Of each role; of more, one document in some is counted and others are estimated by their length.
_COUNTED_CHARACTERS = 10_000_000
_ONE_IN = 16
_MOST_UNKNOWN = 0.01


@register_check
class Lengths(Check):
    """Tokens of each document, without those that mark the ends of segments."""

    name, place, is_cheap = "lengths", 0, False

    @override
    def begin(self) -> None:
        self._characters: list[int] = []
        self._tokens: dict[int, int] = {}
        self._counted: dict[str, int] = {}
        self._unknown: dict[int, int] = {}

    @override
    def add(self, document: ReadDocument) -> None:
        size, role = len(document.text), document.role
        self._characters.append(size)
        counted = self._counted.setdefault(role, 0)
        if self.tokenizer is None or (
            counted + size > _COUNTED_CHARACTERS
            and counted
            and text_digest(document.example)[0] % _ONE_IN
        ):
            return
        self._counted[role] += size
        # The library takes no lone surrogates; as of `Segmenter`, special tokens are but letters.
        ids = self.tokenizer(
            document.text.encode("utf-8", "replace").decode("utf-8"),
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        self._tokens[document.number] = len(ids)
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and (lost := ids.count(unknown)):
            self._unknown[document.number] = lost

    def tokens(self, corpus: CheckedCorpus) -> dict[str, list[int]]:
        """Of each document, split by split; empty lists without a tokenizer."""
        each: dict[str, list[int]] = {}
        for split, numbers in corpus.splits.items():
            known = [number for number in numbers if number in self._tokens] or list(self._tokens)
            characters = sum(self._characters[number] for number in known)
            rate = sum(self._tokens[number] for number in known) / max(1, characters)
            each[split] = [
                self._tokens.get(number, round(rate * self._characters[number]))
                for number in (numbers if known else ())
            ]
        return each

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        counts = self.tokens(corpus)
        everything = [tokens for own in counts.values() for tokens in own]
        if not sum(everything):
            return
        if estimated := corpus.size - sum(number in self._tokens for number in corpus.split_of):
            yield Finding(
                "note",
                "lengths_of_a_sample",
                f"the tokens of {estimated:,} of {corpus.size:,} documents are estimated by their "
                "characters; those of the others are counted",
                counts={"documents": estimated},
            )
        room = self._room(SHORT_MODEL)
        over = [n for split in counts for n in _over(corpus.splits[split], counts[split], room)]
        lost = sum(max(0, tokens - room) for tokens in everything)
        if not over:
            yield Finding(
                "note",
                "all_documents_are_short",
                f"no document is longer than {SHORT_MODEL} tokens",
                "a model that reads that many at once would do as well",
                {"documents": corpus.size},
            )
        else:
            yield corpus.finding(
                "note",
                "longer_than_512_tokens",
                over,
                f"are longer than {SHORT_MODEL} tokens: a model that reads no more would not see "
                f"{100 * lost / sum(everything):.0f} % of all tokens",
                tokens_unseen=lost,
            )
        settings = corpus.config.segmentation
        if settings.max_segments is not None:
            most = settings.max_segments * self._room(
                settings.max_tokens_per_segment or SHORT_MODEL
            )
            cut = [n for split in counts for n in _over(corpus.splits[split], counts[split], most)]
            if cut:
                left = sum(max(0, tokens - most) for tokens in everything)
                yield corpus.finding(
                    "warning",
                    "cut_by_max_segments",
                    cut,
                    f"are longer than segmentation.max_segments={settings.max_segments} lets a "
                    f"model read: about {100 * left / sum(everything):.0f} % of all tokens",
                    "raise segmentation.max_segments, or leave it out",
                    tokens_unseen=left,
                )
        unknown = sum(self._unknown.values())
        if unknown > _MOST_UNKNOWN * sum(self._tokens.values()):
            worst = sorted(self._unknown, key=lambda number: -self._unknown[number])
            yield corpus.finding(
                "warning",
                "unknown_tokens",
                [number for number in worst if number in corpus.split_of],
                f"hold letters or words that the encoder does not know: "
                f"{100 * unknown / sum(self._tokens.values()):.0f} % of the tokens are unknown",
                "choose a model.encoder that was trained on this language",
                tokens=unknown,
            )

    def _room(self, tokens: int) -> int:
        return tokens - (self.tokenizer.num_special_tokens_to_add() if self.tokenizer else 0)

    @override
    def facts(self, corpus: CheckedCorpus) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for split, own in self.tokens(corpus).items():
            facts[split] = {"documents": len(corpus.splits[split])}
            if own:
                sizes, room = sorted(own), self._room(SHORT_MODEL)
                unseen = sum(max(0, size - room) for size in sizes)
                facts[split] |= {
                    "tokens": sum(sizes),
                    "median_tokens": sizes[len(sizes) // 2],
                    "p90_tokens": sizes[math.ceil(0.9 * len(sizes)) - 1],
                    "longest_tokens": sizes[-1],
                    "documents_over_512": sum(size > room for size in sizes),
                    "share_of_tokens_unseen_at_512": round(unseen / max(1, sum(sizes)), 4),
                }
        return facts

    @override
    def table(self, facts: dict[str, Any]) -> list[list[str]]:
        titles = ["Documents", "", "text tokens", "median", "90 %", "longest", "over 512", "unseen"]
        rows = [titles]
        for split, own in facts.items():
            row = [split, f"{own['documents']:,}"]
            if "tokens" in own:
                shown = ("tokens", "median_tokens", "p90_tokens", "longest_tokens")
                row += [f"{own[name]:,}" for name in shown]
                row.append(f"{100 * own['documents_over_512'] / own['documents']:.1f} %")
                row.append(f"{100 * own['share_of_tokens_unseen_at_512']:.1f} %")
            rows.append(row + [""] * (len(titles) - len(row)))
        return rows


def _over(numbers: list[int], sizes: list[int], room: int) -> list[int]:
    return [n for n, size in zip(numbers, sizes, strict=False) if size > room]
