"""Documents to segments: whole sentences packed up to a token budget, with character spans.

Nothing is lost silently: every character that is not white space lies in a sentence, every
sentence lies in a segment, and where a limit on segments leaves any out, `Omission` says what.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .documents import DocumentText
from .line_ends import LineEnds, Places
from .ragged import batches_by_tokens
from .sentence_kinds import sentence_kinds
from .sentences import Span, split_sentences

_SURROGATES = re.compile("[\ud800-\udfff]")
# Scripts that put no white space after these marks; the others end a clause only before some.
_CLOSED_CLAUSE_ENDS = frozenset("،؛，；：、")
_CLAUSE_ENDS = frozenset(",;:)]}—–") | _CLOSED_CLAUSE_ENDS
# Long texts are tokenized in parts of about this many characters, cut between sentences, so that
# the tokenizer's own memory stays small: it works on some at a time, on each by another thread.
_CHARACTERS_PER_PART = 50_000
_CHARACTERS_PER_CALL = 400_000


@dataclass(frozen=True)
class Omission:
    """What `max_segments` left out of a document.

    Attributes:
        segments: Segments that are not read.
        sentences: Sentences that are not wholly read: those left out, and those longer than a
            segment of which a part is left out.
        tokens: Tokens in no segment that is read.
        characters: Characters of the sentences, or their parts, left out.
    """

    segments: int = 0
    sentences: int = 0
    tokens: int = 0
    characters: int = 0


@dataclass(frozen=True)
class SegmentedDocument:
    """One document as a model reads it; S segments, N sentences, T tokens.

    Attributes:
        text: The document; every span points into it.
        sentence_spans: Start and end of each sentence in characters, N of them.
        segment_spans: The same for each segment, S of them, at least 1. With overlap they
            overlap too. An empty segment of the caller is one of special tokens, (p, p).
        input_ids: Tokens of all segments, special tokens included, int32 (T,).
        segment_lengths: Tokens of each segment, int64 (S,).
        sentence_index: Sentence of each token, -1 for special tokens, int32 (T,).
        token_starts: First character of each token, -1 for special tokens, int32 (T,).
        sentence_segments: Segment in which each sentence begins, ascending, int64 (N,).
        sentence_tokens: Tokens of each sentence, each counted once, int64 (N,): of the whole
            sentence, also where `max_segments` leaves a part of it out.
        omission: What was left out by `max_segments`; None when nothing was.
        fields: What features read beside the text, by name.
        given_sentences: Whether the caller cut the sentences; the text's lines say nothing then.
        query: What is asked about it, of `fields`, cut as a document; None where nothing is.
    """

    text: str
    sentence_spans: list[Span]
    segment_spans: list[Span]
    input_ids: Tensor
    segment_lengths: Tensor
    sentence_index: Tensor
    token_starts: Tensor
    sentence_segments: Tensor
    sentence_tokens: Tensor
    omission: Omission | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    given_sentences: bool = False
    query: "SegmentedDocument | None" = None

    @property
    def tokens(self) -> int:
        """How many tokens all segments have, special tokens included."""
        return len(self.input_ids)

    @property
    def sentences(self) -> list[str]:
        """What the sentences say: their texts without the hyphens and marks of line ends."""
        return [self.read(start, end) for start, end in self.sentence_spans]

    def read(self, start: int, end: int) -> str:
        """What the text says from one place to another, without those hyphens and marks."""
        return self._line_ends.read(start, end)

    @cached_property
    def sentence_kinds(self) -> list[str]:
        """The kind of each sentence, one of `sentence_kinds.KINDS`: prose, heading, code, ..."""
        return sentence_kinds(self.text, self.sentence_spans, self.given_sentences)

    @cached_property
    def _line_ends(self) -> LineEnds:
        return LineEnds(self.text, self.sentence_spans)


class _Tokens(NamedTuple):
    """Tokens of a document: their ids, and where they start and end in its text."""

    ids: "array[int]"
    starts: "array[int]"
    ends: "array[int]"


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or a piece of one that is longer than a segment: tokens [first, last).

    A segment without any text holds one unit, without tokens and of the sentence -1.
    """

    sentence: int
    first: int
    last: int
    span: Span

    @property
    def size(self) -> int:
        """How many tokens it has."""
        return self.last - self.first


class Segmenter:
    """Cuts documents into segments for one tokenizer.

    Args:
        tokenizer: A fast tokenizer; its special tokens and its own truncation and padding
            settings do not matter, they are handled here.
        max_tokens_per_segment: Most tokens of a segment, special tokens included.
        overlap_sentences: Sentences repeated at the start of the next segment, as far as they
            fit. Segments given by the caller are not overlapped.
        max_segments: Most segments of a document; None for no limit.
        max_segments_policy: Which stay: "head", "tail", "head_tail" or "spread".
        list_unit: What the items of a list of strings are: "sentences" or "segments".

    Raises:
        ValueError: The tokenizer gives no character offsets, or a segment has no room.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_tokens_per_segment: int = 512,
        overlap_sentences: int = 0,
        max_segments: int | None = None,
        max_segments_policy: str = "head",
        list_unit: str = "sentences",
    ) -> None:
        if not tokenizer.is_fast:
            raise ValueError(
                f"{type(tokenizer).__name__} gives no character offsets; a fast tokenizer is needed"
            )
        self.tokenizer = tokenizer
        self.overlap_sentences = overlap_sentences
        self.max_segments = max_segments
        self.max_segments_policy = max_segments_policy
        self.list_unit = list_unit
        self.prefix_ids, self.suffix_ids = _special_ids(tokenizer)
        self._not_in_text = frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        # What stands in a segment without any token, where no special tokens are added.
        known = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.eos_token_id)
        self._blank_id = next((token for token in known if token is not None), 0)
        self.room = max_tokens_per_segment - len(self.prefix_ids) - len(self.suffix_ids)
        if self.room < 1:
            raise ValueError(
                f"max_tokens_per_segment={max_tokens_per_segment} leaves no room beside the "
                f"{len(self.prefix_ids) + len(self.suffix_ids)} special tokens"
            )

    def __call__(self, documents: Sequence[DocumentText]) -> list[SegmentedDocument]:
        """Segment documents.

        Args:
            documents: Texts; or lists of their sentences or segments, which are joined by
                newlines to the text that the spans point into.

        Returns:
            One `SegmentedDocument` for each, in order. A document without text is one segment
            of special tokens and no sentence.
        """
        prepared = [self._sentences(document) for document in documents]
        # Numbers, not Python's integers, of which a long document would have millions.
        tokens = [_Tokens(array("i"), array("i"), array("i")) for _ in prepared]
        parts = self._parts((text, spans) for text, spans, _ in prepared)
        for some in batches_by_tokens(parts, lambda part: len(part[2]), _CHARACTERS_PER_CALL):
            encoded = self._encode([part for _, _, part in some])
            for (number, places, _), (ids, offsets) in zip(some, encoded, strict=True):
                tokens[number].ids.extend(ids)
                tokens[number].starts.extend(places.firsts([start for start, _ in offsets]))
                tokens[number].ends.extend(places.lasts([end for _, end in offsets]))
        return [
            self._pack(self._is_given(document), *own, its_tokens)
            for document, own, its_tokens in zip(documents, prepared, tokens, strict=True)
        ]

    def _parts(
        self, documents: Iterable[tuple[str, list[Span]]]
    ) -> Iterator[tuple[int, Places, str]]:
        """What the tokenizer reads: the number of the document, the places, and the text."""
        for number, (text, spans) in enumerate(documents):
            line_ends = LineEnds(text, spans)
            for start, end in _parts(text, spans):
                part, places = line_ends.read_with_places(start, end)
                yield number, places, _SURROGATES.sub("\ufffd", part)

    def _is_given(self, document: DocumentText) -> bool:
        """Whether the caller cut the sentences."""
        return not isinstance(document, str) and any(
            self.list_unit == "sentences" or not isinstance(item, str) for item in document
        )

    def _encode(self, texts: list[str]) -> list[tuple[list[int], list[Span]]]:
        # Neither truncated nor padded, whatever the tokenizer's file says (all-MiniLM-L6-v2's
        # asks for both at 128 tokens).
        encoded = self.tokenizer(
            texts,
            add_special_tokens=False,
            # A text that holds "[SEP]" or "<s>" says these characters, not the token.
            split_special_tokens=True,
            truncation=False,
            padding=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        # Special tokens become unknown ones: Unigram vocabularies spell "<s>" with its own piece.
        unknown = self.tokenizer.unk_token_id
        found = []
        for ids in encoded["input_ids"]:
            if unknown is not None and not self._not_in_text.isdisjoint(ids):
                ids = [unknown if token in self._not_in_text else token for token in ids]
            found.append(ids)
        return list(zip(found, encoded["offset_mapping"], strict=True))

    def _sentences(self, document: DocumentText) -> tuple[str, list[Span], list[tuple[int, int]]]:
        """A document's text, its sentence spans, and the caller's segments, if there are any.

        Of each segment the number of its first sentence and of its first character.
        """
        if isinstance(document, str):
            return document, split_sentences(document), []
        spans: list[Span] = []
        forced: list[tuple[int, int]] = []
        items: list[str] = []
        position = 0
        for item in document:
            own = [item] if isinstance(item, str) else list(item)
            if self.list_unit == "segments" or not isinstance(item, str):
                forced.append((len(spans), position))
            for part in own:
                if isinstance(item, str) and self.list_unit == "segments":
                    spans += [(a + position, b + position) for a, b in split_sentences(part)]
                else:
                    # The caller's own sentence, also when it is blank: indices must agree.
                    spans.append((position, position + len(part)))
                items.append(part)
                position += len(part) + 1
        return "\n".join(items), spans, forced

    def _pack(
        self,
        given: bool,
        text: str,
        spans: list[Span],
        forced: list[tuple[int, int]],
        tokens: _Tokens,
    ) -> SegmentedDocument:
        """Put units into segments, choose the segments that stay, and write them out flat."""
        units = self._units(text, spans, tokens)
        whole_counts = [0] * len(spans)
        for unit in units:
            whole_counts[unit.sentence] += unit.size
        # What stands before the caller's first segment, such as a whole text, is filled by itself.
        groups = forced if forced and forced[0][0] == 0 else [(0, 0), *forced]
        segments: list[list[_Unit]] = []
        position = 0
        for (_, character), (following, _) in pairwise([*groups, (len(spans), 0)]):
            end = bisect_left(units, following, position, key=lambda unit: unit.sentence)
            place = min(character, len(text))
            segments += self._fill(units[position:end], overlap=not forced) or [
                [_Unit(-1, 0, 0, (place, place))]
            ]
            position = end
        omission = None
        if self.max_segments is not None and len(segments) > self.max_segments:
            kept = _choose_segments(len(segments), self.max_segments, self.max_segments_policy)
            chosen = [segments[index] for index in kept]
            omission = _measure_omission(len(segments), chosen, units)
            segments = chosen
        # Sentences are counted anew where some were left out.
        new_index: dict[int, int] = {}
        sentence_segments: list[int] = []
        input_ids, sentence_index, token_starts = array("i"), array("i"), array("i")
        lengths: list[int] = []
        no_text = array("i", [-1])
        for number, segment in enumerate(segments):
            before = len(input_ids)
            input_ids.extend(self.prefix_ids)
            sentence_index += no_text * len(self.prefix_ids)
            token_starts += no_text * len(self.prefix_ids)
            for unit in segment:
                if unit.sentence >= 0 and unit.sentence not in new_index:
                    new_index[unit.sentence] = len(new_index)
                    sentence_segments.append(number)
                own = slice(unit.first, unit.last)
                input_ids += tokens.ids[own]
                sentence_index += array("i", [new_index.get(unit.sentence, -1)]) * unit.size
                token_starts += tokens.starts[own]
            input_ids.extend(self.suffix_ids)
            sentence_index += no_text * len(self.suffix_ids)
            token_starts += no_text * len(self.suffix_ids)
            if len(input_ids) == before:
                input_ids.append(self._blank_id)
                sentence_index += no_text
                token_starts += no_text
            lengths.append(len(input_ids) - before)
        return SegmentedDocument(
            text=text,
            sentence_spans=[spans[sentence] for sentence in new_index],
            segment_spans=[(s[0].span[0], s[-1].span[1]) for s in segments],
            input_ids=torch.frombuffer(input_ids, dtype=torch.int32),
            segment_lengths=torch.tensor(lengths, dtype=torch.int64),
            sentence_index=torch.frombuffer(sentence_index, dtype=torch.int32),
            token_starts=torch.frombuffer(token_starts, dtype=torch.int32),
            sentence_segments=torch.tensor(sentence_segments, dtype=torch.int64),
            sentence_tokens=torch.tensor(
                [whole_counts[sentence] for sentence in new_index], dtype=torch.int64
            ),
            omission=omission,
            given_sentences=given,
        )

    def _units(self, text: str, spans: list[Span], tokens: _Tokens) -> list[_Unit]:
        """Sentences as units; those longer than a segment in pieces."""
        units: list[_Unit] = []
        starts, first = tokens.starts, 0
        for sentence, (start, end) in enumerate(spans):
            # A token belongs to the first sentence that ends after the token starts: tokens of
            # the white space between two sentences go with the second. Blank sentences of the
            # caller have none.
            last = bisect_left(starts, end, first) if end > start else first
            if sentence == len(spans) - 1:
                last = len(starts)
            cuts = [first]
            while last - cuts[-1] > self.room:
                cuts.append(self._cut(text, cuts[-1], tokens))
            cuts.append(last)
            # White space around a sentence may be tokens too, and fill a piece of their own.
            edges = [start, *(min(max(starts[cut], start), end) for cut in cuts[1:-1]), end]
            units += [
                _Unit(sentence, cuts[i], cuts[i + 1], (edges[i], edges[i + 1]))
                for i in range(len(cuts) - 1)
            ]
            first = last
        return units

    def _cut(self, text: str, first: int, tokens: _Tokens) -> int:
        """Where to cut a sentence whose tokens from `first` on fill more than a segment.

        After the last clause in the second half of the room; else between words; else between
        characters, not before a clause mark; else between any two tokens.
        """
        full = first + self.room
        lowest = first + max(1, self.room // 2)
        between_words = between_characters = 0
        for cut in range(full, lowest - 1, -1):
            end, start = tokens.ends[cut - 1], tokens.starts[cut]
            following = text[start : start + 1]
            # Byte-level tokenizers make several tokens of one character.
            if start < end or following in _CLAUSE_ENDS:
                continue
            # Nor is a word whose hyphen came with a line end cut there.
            between = text[end:start]
            at_word = (between and between[0] not in "-\u2010\u00ad") or following.isspace()
            last = text[end - 1] if end else ""
            if last in _CLOSED_CLAUSE_ENDS or (at_word and last in _CLAUSE_ENDS):
                return cut
            if at_word and not between_words:
                between_words = cut
            if not between_characters:
                between_characters = cut
        return between_words or between_characters or full

    def _fill(self, units: list[_Unit], overlap: bool) -> list[list[_Unit]]:
        """Units into segments, greedily and in order."""
        segments: list[list[_Unit]] = []
        used = 0
        for unit in units:
            if not segments or used + unit.size > self.room:
                repeated = self._repeat(segments[-1], unit) if segments and overlap else []
                segments.append(repeated)
                used = sum(other.size for other in repeated)
            segments[-1].append(unit)
            used += unit.size
        return segments

    def _repeat(self, segment: list[_Unit], following: _Unit) -> list[_Unit]:
        """The last sentences of a segment that fit into the next one before `following`."""
        room = self.room - following.size
        repeated: list[_Unit] = []
        sentences: set[int] = set()
        for unit in reversed(segment):
            # The sentence that goes on in the next segment is no repetition.
            if unit.sentence == following.sentence:
                break
            sentences.add(unit.sentence)
            room -= unit.size
            if len(sentences) > self.overlap_sentences or room < 0:
                break
            repeated.insert(0, unit)
        return repeated


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Tokens that this tokenizer puts before and after a text, by asking it."""
    encoded = tokenizer("a", return_special_tokens_mask=True, truncation=False, padding=False)
    ids, special = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    inner = [index for index, flag in enumerate(special) if not flag] or [len(ids)]
    return ids[: inner[0]], ids[inner[-1] + 1 :]


def _parts(text: str, spans: list[Span]) -> list[Span]:
    """Cut a text into parts for the tokenizer, between sentences that white space separates.

    Each part starts where the sentence before it ends, so that tokenizers for which a space
    belongs to the next word see it.
    """
    parts: list[Span] = []
    start = 0
    for index in range(1, len(spans)):
        end, next_start = spans[index - 1][1], spans[index][0]
        if end - start >= _CHARACTERS_PER_PART and end < next_start:
            parts.append((start, end))
            start = end
    if spans and start < len(text):
        parts.append((start, len(text)))
    return parts


def _choose_segments(count: int, limit: int, policy: str) -> list[int]:
    """Indices of the segments that stay, ascending."""
    if policy == "head":
        return list(range(limit))
    if policy == "tail":
        return list(range(count - limit, count))
    if policy == "head_tail":
        head = (limit + 1) // 2
        return [*range(head), *range(count - (limit - head), count)]
    if limit == 1:
        return [count // 2]
    return [round(index * (count - 1) / (limit - 1)) for index in range(limit)]


def _measure_omission(total: int, chosen: list[list[_Unit]], units: list[_Unit]) -> Omission:
    """What is in none of the chosen segments."""
    kept = {id(unit) for segment in chosen for unit in segment}
    lost = [unit for unit in units if id(unit) not in kept]
    return Omission(
        segments=total - len(chosen),
        sentences=len({unit.sentence for unit in lost}),
        tokens=sum(unit.size for unit in lost),
        characters=sum(unit.span[1] - unit.span[0] for unit in lost),
    )
