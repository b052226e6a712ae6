"""Where in a document an answer comes from: what it loses without each segment, sentence and word.

A part is left out of the vectors that are there, and its words of the words: the encoder is not
asked again. Segments do not see each other in the encoder, so that for a segment this is what the
model says without it; a sentence's neighbours still know that it was there, unless their segment is
encoded anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from .features import LeftOut, collate_features
from .heads import Answered
from .ragged import group_of_unit, group_starts
from .sentences import Span
from .words import Words

# Of more segments, or sentences, only so many of the strongest are left out, by an estimate.
_MOST_SEGMENTS, _MOST_SENTENCES, _CHOSEN = 256, 64, 64
# Segments of all documents of a pass.
_SEGMENTS_AT_ONCE = 16_384
_MOST_PLACES = 20

Measure = Callable[[Tensor], Tensor]
"""What is explained, float (R, L), of a head's scores, float (R, C)."""


@dataclass(frozen=True)
class _Parts:
    """Parts of a document, R of them, and what is left of M segments without them.

    Attributes:
        spans: Of the parts in the text.
        words: Spans whose words go with them.
        parts: Which part each of the M belongs to, int64 (M,).
        segments: Which segment it is, int64 (M,).
        vectors: Of the segment without the part, float32 (M, H); the mean of all segments where
            nothing is left.
        gone: Whether nothing is left of it, bool (M,).
    """

    spans: list[Span]
    words: list[Span]
    parts: Tensor
    segments: Tensor
    vectors: Tensor
    gone: Tensor

    def __len__(self) -> int:
        return len(self.spans)

    def chosen(self, numbers: Tensor) -> "_Parts":
        """Some of them."""
        places = torch.full((len(self),), -1).index_copy(0, numbers, torch.arange(len(numbers)))
        own = places[self.parts] >= 0
        return _Parts(
            [self.spans[number] for number in numbers.tolist()],
            [self.words[number] for number in numbers.tolist()],
            places[self.parts][own],
            self.segments[own],
            self.vectors[own],
            self.gone[own],
        )


class Evidence:
    """What a head's answer about one document loses without parts of it.

    Args:
        model: The `HierBertForDocuments` that gave the answer.
        head: The head's name; one that answers documents.
        answered: Its answer.
        measure: What is explained.
        word_weights: By feature, what its words weigh in each of the head's scores, float (C, 1).
    """

    def __init__(
        self,
        model: Any,
        head: str,
        answered: Answered,
        measure: Measure,
        word_weights: dict[str, Tensor],
    ) -> None:
        self._model, self._head, self._measure = model, head, measure
        self._document = answered.document
        # Not those that inference mode has made, of which no gradients can be kept.
        self._vectors = answered.segment_vectors.clone()
        self._sentence_vectors = answered.sentence_vectors
        scores = answered.scores[head][None].clone().requires_grad_()
        with torch.enable_grad():
            explained = measure(scores)[0]
            slopes = [torch.autograd.grad(o, scores, retain_graph=True)[0][0] for o in explained]
        self.whole = explained.detach()
        self._features = model.features_of([head])
        # Places (M, 2), numbers that equal ones share (M,), and contributions (M, L).
        self._places, self._terms, self._words = self._contributions_of_words(
            torch.stack(slopes, 1), word_weights
        )

    def strongest(self, count: int, with_sentences: bool, exact: bool) -> list[dict[str, Any]]:
        """The strongest segments, sentences and words of each of the L, as fields of an answer.

        Args:
            count: Most of each.
            with_sentences: Whether a segment's vector is the mean of its tokens' states.
            exact: Whether to encode segments anew without a sentence.
        """
        segments, of_segments = self._left_out(self._segment_parts(), _MOST_SEGMENTS)
        near = [_strongest(column, count) for column in of_segments.T]
        # A document of one segment is nothing without it; its sentences still tell.
        chosen = {int(segments.segments[part]) for own in near for part in own} or {0}
        spans, of_sentences = [], of_segments[:0]
        if (with_sentences or exact) and self._sentence_vectors is not None:
            parts = self._sentence_parts(chosen)
            parts, of_sentences = self._left_out(parts, _MOST_SENTENCES, exact)
            spans = parts.spans
        return [
            {
                "segments": _told(segments.spans, of_segments[:, column], count),
                "sentences": _told(spans, of_sentences[:, column], count),
                "words": self._strongest_words(column, count),
            }
            for column in range(len(self.whole))
        ]

    def segments(self, most: int) -> tuple[list[Span], Tensor]:
        """Segments, the strongest R by the estimate, and their contributions, float32 (R, L)."""
        parts, found = self._left_out(self._segment_parts(), most, chosen=most)
        return parts.spans, found

    def with_vector(self, segment: int, vector: Tensor) -> Tensor:
        """What is explained where a segment has another vector, float (H,): float32 (L,)."""
        vectors = self._vectors.clone().to(vector)
        vectors[segment] = vector
        inputs = {
            "segment_vectors": vectors,
            "segments_per_document": torch.tensor([len(vectors)]),
            **collate_features(self._features, [self._document]),
        }
        return self._measure(self._scores(inputs))[0]

    def _segment_parts(self) -> _Parts:
        """Each segment; none of a document that has but one."""
        spans = self._document.segment_spans if len(self._vectors) > 1 else []
        # Of segments that overlap, the others still hold what they share.
        ends = list(accumulate((end for _, end in spans), max, initial=0))
        starts = list(accumulate((start for start, _ in reversed(spans)), min, initial=_AT_END))
        words = [
            (max(start, before), max(start, before, min(end, after)))
            for (start, end), before, after in zip(spans, ends[:-1], starts[-2::-1], strict=True)
        ]
        numbers = torch.arange(len(spans))
        mean = self._vectors.mean(0).expand(len(spans), -1)
        return _Parts(spans, words, numbers, numbers, mean, torch.ones(len(spans)) > 0)

    def _sentence_parts(self, segments: set[int]) -> _Parts:
        """Each sentence with a token in one of some segments, but for one that is all there is."""
        document = self._document
        assert self._sentence_vectors is not None
        index = document.sentence_index.long()
        owners, of_sentence = group_of_unit(document.segment_lengths), index >= 0
        count = len(document.segment_lengths)
        pairs, tokens = (index * count + owners)[of_sentence].unique(return_counts=True)
        sentence, segment = pairs // count, pairs % count
        inside = torch.isin(segment, torch.tensor(sorted(segments)))
        numbers = sentence[inside].unique()
        own = torch.isin(sentence, numbers)
        sentence, segment, tokens = sentence[own], segment[own], tokens[own]
        text_tokens = owners[of_sentence].bincount(minlength=count)
        gone = text_tokens[segment] == tokens
        left = (document.segment_lengths[segment] - tokens).clamp(min=1)[:, None]
        before = self._vectors[segment]
        moved = before - self._sentence_vectors.float()[sentence]
        vectors = torch.where(
            gone[:, None], self._vectors.mean(0), before + moved * (tokens[:, None] / left)
        )
        spans = [document.sentence_spans[number] for number in numbers.tolist()]
        parts = torch.searchsorted(numbers, sentence)
        found = _Parts(spans, spans, parts, segment, vectors, gone)
        lost = torch.zeros(len(numbers), dtype=torch.int64).index_add(0, parts, gone.long())
        return found.chosen((lost < count).nonzero()[:, 0])

    def _left_out(
        self, parts: _Parts, most: int, exact: bool = False, chosen: int | None = None
    ) -> tuple[_Parts, Tensor]:
        """Parts, the strongest where there are too many, and their contributions (R, L).

        If `exact`, their segments are encoded without them.
        """
        if len(parts) > most:
            # Each of the L has its strongest among them, as far as there is room.
            ranks = self._estimates(parts).abs().argsort(0, descending=True).argsort(0).amin(1)
            parts = parts.chosen(ranks.argsort(stable=True)[: chosen or _CHOSEN].sort().values)
        if exact:
            parts = replace(parts, vectors=self._encoded_without(parts))
        found = [torch.zeros(0, len(self.whole))]
        at_once = max(1, _SEGMENTS_AT_ONCE // len(self._vectors))
        collates = {name: one.leaving_out(self._document) for name, one in self._features.items()}
        for numbers in torch.arange(len(parts)).split(at_once) if len(parts) else ():
            found.append(self.whole - self._without(parts.chosen(numbers), collates))
        return parts, torch.cat(found)

    def _encoded_without(self, parts: _Parts) -> Tensor:
        """Vectors of the segments without the tokens of the sentences, float32 (M, H)."""
        document, vectors = self._document, parts.vectors.clone()
        lengths = document.segment_lengths
        starts = group_starts(lengths)
        numbers = {span: number for number, span in enumerate(document.sentence_spans)}
        sentences = [numbers[span] for span in parts.spans]
        left = (~parts.gone).nonzero()[:, 0].tolist()
        ids, sizes = [], []
        for place in left:
            segment = int(parts.segments[place])
            own = slice(int(starts[segment]), int(starts[segment] + lengths[segment]))
            stays = document.sentence_index[own] != sentences[int(parts.parts[place])]
            ids.append(document.input_ids[own][stays].long())
            sizes.append(int(stays.sum()))
        if left:
            encoder, device = self._model.hierbert.segment_encoder, self._model.device
            with torch.no_grad():
                found, _ = encoder(torch.cat(ids).to(device), torch.tensor(sizes, device=device))
            vectors[left] = found.float().cpu()
        return vectors

    def _without(self, parts: _Parts, collates: dict[str, Callable[[LeftOut], dict]]) -> Tensor:
        """What is explained when each part is left out, float32 (R, L)."""
        count = len(self._vectors)
        vectors = self._vectors.repeat(len(parts), 1, 1)
        vectors[parts.parts, parts.segments] = parts.vectors
        kept = torch.ones(len(parts), count, dtype=torch.bool)
        kept[parts.parts, parts.segments] = ~parts.gone
        places = torch.stack([torch.arange(count), torch.full((count,), count)], 1)
        inputs = {
            "segment_vectors": vectors[kept],
            "segment_places": places.expand(len(parts), count, 2)[kept],
            "segments_per_document": kept.sum(1),
        }
        for name, collate in collates.items():
            own = collate(LeftOut(parts.words, kept))
            inputs |= {f"features.{name}.{key}": value for key, value in own.items()}
        with torch.no_grad():
            return self._measure(self._scores(inputs))

    def _estimates(self, parts: _Parts) -> Tensor:
        """Contributions to the first order, float32 (R, L): gradient times what is left out."""
        with torch.enable_grad():
            vectors = self._vectors.clone().requires_grad_()
            features = collate_features(self._features, [self._document])
            inputs = {"segment_vectors": vectors, **features}
            inputs["segments_per_document"] = torch.tensor([len(vectors)])
            explained = self._measure(self._scores(inputs))[0]
            slopes = [_slope(value, vectors) for value in explained]
        lost = self._vectors[parts.segments] - parts.vectors
        each = torch.stack([(own[parts.segments] * lost).sum(1) for own in slopes], 1)
        found = torch.zeros(len(parts), len(self.whole)).index_add(0, parts.parts, each)
        starts, order = self._places[:, 0].sort(stable=True)
        until = torch.cat([torch.zeros(1, len(self.whole)), self._words[order].cumsum(0)])
        first, last = torch.searchsorted(starts, torch.tensor(parts.words)).T
        return found + until[last] - until[first]

    def _scores(self, inputs: dict[str, Tensor]) -> Tensor:
        model = self._model
        inputs["sentences_per_document"] = torch.zeros_like(inputs["segments_per_document"])
        inputs = {name: value.to(model.device) for name, value in inputs.items()}
        return model(**inputs, heads=[self._head]).scores[self._head].float().cpu()

    def _contributions_of_words(self, slopes: Tensor, weights: dict[str, Tensor]) -> list[Tensor]:
        """As `Words.contributions` gives them, of all features that read words."""
        none = (torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
        found = [(*none, torch.zeros(0, len(self.whole)))]
        with torch.no_grad():
            found += [
                feature.contributions(self._document, weights[name] * slopes)
                for name, feature in self._features.items()
                if isinstance(feature, Words)
            ]
        return [torch.cat(own) for own in zip(*found, strict=True)]

    def _strongest_words(self, column: int, count: int) -> list[dict[str, Any]]:
        """Words and pairs of words, each with all that it contributes, and where it stands."""
        different, owners = self._terms.unique(return_inverse=True)
        summed = torch.zeros(len(different)).index_add(0, owners, self._words[:, column])
        found = []
        for number in _strongest(summed, count):
            if summed[number] == 0:
                break
            spans = sorted({(start, end) for start, end in self._places[owners == number].tolist()})
            text = self._document.text[slice(*spans[0])]
            found.append(
                {
                    "text": " ".join(text.split()),
                    "contribution": float(summed[number]),
                    "count": len(spans),
                    "spans": [list(span) for span in spans[:_MOST_PLACES]],
                }
            )
        return found


_AT_END = 1 << 62


def _slope(value: Tensor, inputs: Tensor) -> Tensor:
    """The gradient of a number; 0 where it hangs on something else, such as words, alone."""
    found = None
    if value.requires_grad:
        (found,) = torch.autograd.grad(value, inputs, retain_graph=True, allow_unused=True)
    return torch.zeros_like(inputs) if found is None else found


def _strongest(contributions: Tensor, count: int) -> list[int]:
    """Numbers of the strongest of them, float (R,), strongest first, whatever their sign."""
    order: list[int] = contributions.abs().argsort(descending=True, stable=True)[:count].tolist()
    return order


def _told(spans: Sequence[Span], contributions: Tensor, count: int) -> list[dict[str, Any]]:
    return [
        {"start": spans[n][0], "end": spans[n][1], "contribution": float(contributions[n])}
        for n in _strongest(contributions, count)
    ]
