"""The head that summarizes: a score for each sentence, and from scores to a summary."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .aggregation import POSITION_FEATURES, Aggregator, in_parts, position_features
from .antecedents import needs_the_one_before
from .central_words import CentralWords
from .configuration_hierbert import HierBertConfig
from .dialogue import speakers
from .heads import Answered, Head, Structure, Vectors, check_registered, register_head
from .linear import StandardisedLinear
from .query_pairs import QueryPairs
from .ragged import group_log_softmax, group_mean, group_of_unit, group_starts
from .same_words import repeats
from .segmentation import SegmentedDocument, Span
from .selection import (
    SUMMARY_BUDGETS,
    Budget,
    count_words,
    cut_to_limit,
    select_sentences,
    sentence_costs,
)
from .selection_options import OPTIONS, SelectionOptions
from .sentence_evidence import sentence_evidence
from .sentence_features import SentenceFeatures
from .sentence_query import (
    QUERY,
    QueryWords,
    inputs_with,
    near_of,
    query_inputs,
    shares_words,
)
from .sentence_stack import SentenceStack
from .sentence_words import SentenceWords, stems

# Words; what is longer is cut where it does not fit into a summary.
_LONGEST_SENTENCE = 100
_LEARNT = "learnt"


@dataclass(frozen=True)
class SummarySentence:
    """A sentence of a summary: `text` is exactly the document's characters start to end.

    Attributes:
        text: As it stands in the document.
        start: First character.
        end: One after the last character.
        score: How much it belongs into a summary, 0 to 1.
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class SummarySentenceOfKind(SummarySentence):
    """The same, with its `kind`, one of `sentence_kinds.KINDS`, where that was asked for."""

    kind: str


@dataclass(frozen=True)
class SummaryRule(SelectionOptions):
    """How scored sentences become a summary.

    Attributes:
        budget: The greatest length of the summary.
        sentence_kinds: Whether an answer tells the kind of each sentence.
        evidence: Whether it tells what the scores of the summary's sentences are made of.

    Headings, items of lists, code and what else is no prose are selected where there is nothing
    else. A budget of the ratio 1 is the whole document: nothing is left out, nor what is there
    twice.

    Raises:
        ValueError: A value is not allowed.
    """

    budget: Budget
    sentence_kinds: bool = False
    evidence: bool = False

    @classmethod
    def from_config(cls, config: HierBertConfig) -> "SummaryRule":
        """How a model was trained to summarize."""
        limit: Any = config.summary_limit
        limit = limit if config.summary_budget == "ratio" else int(limit)
        own = {name: getattr(config, f"summary_{name}") for name in OPTIONS}
        return cls(Budget(**{config.summary_budget: limit}), **own)

    def select(self, document: SegmentedDocument, scores: Sequence[float]) -> list["Candidate"]:
        """What a summary of N sentences with N scores is made of, in its order."""
        return self.select_from(self.candidates(document), scores)

    def select_from(self, candidates: "Candidates", scores: Sequence[float]) -> list["Candidate"]:
        """The same, of a document's candidates."""
        similar = None
        if self.redundancy:
            similar = SentenceWords([stems(text) for text in candidates.texts]).similar_to
        selected = select_sentences(
            [scores[sentence] for sentence in candidates.sentences],
            candidates.costs,
            candidates.limit,
            order=self.order,
            method=self.selection,
            redundancy=self.redundancy,
            similar_to=similar,
            selectable=candidates.selectable,
            alike=None if self.budget.ratio == 1 else candidates.alike,
            needs_previous=candidates.needs_previous if self._includes_antecedents else None,
        )
        return [candidates[index] for index in selected]

    @property
    def _includes_antecedents(self) -> bool:
        return self.include_antecedent and self.budget.ratio != 1

    def candidates(self, document: SegmentedDocument) -> "Candidates":
        """The sentences of a document; those that are too long for the limit in pieces.

        That is where they are longer than sentences are, such as a transcript without a full stop,
        or where no sentence of the document fits. Names of speakers stand before them where there
        is room for any sentence with one.
        """
        if self.keep_speaker and self.budget.ratio != 1:
            own = self._candidates(document, speakers(document.text, document.sentence_spans))
            if _any_fits(own.costs, own.limit, own.selectable):
                return own
        return self._candidates(document, [None] * len(document.sentence_spans))

    def _candidates(
        self, document: SegmentedDocument, names: Sequence[Span | None]
    ) -> "Candidates":
        texts = document.sentences
        costs = sentence_costs(texts, self.budget, document.sentence_tokens.tolist())
        limit = self.budget.limit(texts)
        found = []
        for selectable in self._choices(texts, document.sentence_kinds):
            own = self._pieces(document, texts, costs, limit, selectable, names)
            if _any_fits(own.costs, limit, own.selectable):
                return own
            found.append(own)
        return found[0]

    def _pieces(
        self,
        document: SegmentedDocument,
        texts: list[str],
        costs: list[int],
        limit: int,
        selectable: list[bool],
        names: Sequence[Span | None],
    ) -> "Candidates":
        """Candidates, of which these sentences or their pieces may be selected."""
        spans = document.sentence_spans
        none_fits = not _any_fits(costs, limit, selectable)
        of_names = self._costs_of_names(document, {name for name in names if name is not None})
        sentences: list[int] = []
        pieces: list[Span] = []
        prices: list[int] = []
        for index, ((start, end), text, cost) in enumerate(zip(spans, texts, costs, strict=True)):
            cuts = [(0, end - start)]
            own = [cost]
            if (
                selectable[index]
                and cost > limit
                and (none_fits or count_words(text) > _LONGEST_SENTENCE)
            ):
                of_piece = self._cost_in(document, index)
                name = names[index]
                room = max(1, limit - (0 if name is None else of_names[name]))
                cuts = cut_to_limit(document.text[start:end], of_piece, room)
                own = [of_piece(*cut) for cut in cuts]
            sentences += [index] * len(cuts)
            pieces += [(start + first, start + last) for first, last in cuts]
            prices += own
        said_by = [names[sentence] for sentence in sentences]
        # What begins with its turn holds the name itself.
        before = [
            name if name is not None and start > name[0] else None
            for name, (start, _) in zip(said_by, pieces, strict=True)
        ]
        if len(pieces) > len(spans) or any(before):
            texts = [document.read(start, end) for start, end in pieces]
            selectable = [selectable[sentence] for sentence in sentences]
            long_enough = [
                may and count_words(text) >= self.min_words_per_sentence
                for may, text in zip(selectable, texts, strict=True)
            ]
            # A limit may be less than so many words.
            if len(pieces) > len(spans) and _any_fits(prices, limit, long_enough):
                selectable = long_enough
        for place, name in enumerate(before):
            if name is not None:
                texts[place] = f"{document.text[slice(*name)]}: {texts[place]}"
                prices[place] += of_names[name]
        needs_previous = [False] * len(pieces)
        if self._includes_antecedents:
            kinds = document.sentence_kinds
            needs_previous = [
                sentence > 0
                and sentences[place - 1] == sentence - 1
                and kinds[sentence - 1] == "prose"
                and needs_the_one_before(document.text[start:end])
                for place, (sentence, (start, end)) in enumerate(
                    zip(sentences, pieces, strict=True)
                )
            ]
        return Candidates(
            limit, sentences, pieces, texts, prices, selectable, said_by, needs_previous
        )

    def _costs_of_names(
        self, document: SegmentedDocument, names: Collection[Span]
    ) -> dict[Span, int]:
        """What a speaker's name and its colon cost before a sentence."""
        if not names or self.budget.unit == "sentences":
            return dict.fromkeys(names, 0)
        if self.budget.unit == "tokens":
            places = _token_places(document, (document.sentence_index >= 0).nonzero().flatten())
            return {
                (start, end): bisect_left(places, end + 1) - bisect_left(places, start)
                for start, end in names
            }
        texts = {name: f"{document.text[slice(*name)]}: " for name in names}
        count = len if self.budget.unit == "characters" else count_words
        return {name: count(text) for name, text in texts.items()}

    def _cost_in(self, document: SegmentedDocument, index: int) -> Callable[[int, int], int]:
        """What characters of a sentence cost."""
        start, end = document.sentence_spans[index]
        text = document.text[start:end]
        if self.budget.unit != "tokens":
            return lambda first, last: sentence_costs([text[first:last]], self.budget, ())[0]
        tokens = (document.sentence_index == index).nonzero().flatten()
        own = _token_places(document, tokens)
        return lambda first, last: max(
            1, bisect_left(own, start + last) - bisect_left(own, start + first)
        )

    def _choices(self, texts: Sequence[str], kinds: Sequence[str]) -> list[list[bool]]:
        """Which may be selected: prose that is long enough, else what is, else prose, else all."""
        not_blank = [bool(text.strip()) for text in texts]
        if self.budget.ratio == 1:
            return [not_blank]
        long_enough = [
            there and count_words(text) >= self.min_words_per_sentence
            for there, text in zip(not_blank, texts, strict=True)
        ]
        prose = [there and kind == "prose" for there, kind in zip(not_blank, kinds, strict=True)]
        long_prose = [one and other for one, other in zip(long_enough, prose, strict=True)]
        choices = (long_prose, long_enough, prose)
        return [*(choice for choice in choices if any(choice)), not_blank]


def _token_places(document: SegmentedDocument, tokens: Tensor) -> list[int]:
    """Where tokens, given by their places among all, begin in the text, in order."""
    ends = document.segment_lengths.cumsum(0)
    segments = torch.bucketize(tokens, ends, right=True).tolist()
    # Of bytes several begin at one character; what a segment repeats of the one before counts once.
    most: Counter[int] = Counter()
    counts = Counter(zip(segments, document.token_starts[tokens].tolist(), strict=True))
    for (_, place), count in counts.items():
        most[place] = max(most[place], count)
    return sorted(most.elements())


class Candidate(NamedTuple):
    """A sentence that may be selected, or a piece of one that is too long.

    Attributes:
        sentence: Its index.
        start: First character.
        end: One after the last character.
        text: What it says, without the hyphens and marks of line ends; with the name of its speaker
            where that is to be kept.
        cost: What it takes from the budget.
        said_by: Where that name stands; None where that is not known, or not asked.
    """

    sentence: int
    start: int
    end: int
    text: str
    cost: int
    said_by: Span | None


@dataclass(frozen=True)
class Candidates:
    """What the summary of a document may be made of, in its order; M of them.

    Attributes:
        limit: The greatest sum of costs of a summary.
        sentences: Of each the sentence that it is, or is a piece of, M as all below.
        spans: Start and end in characters.
        texts: What they say.
        costs: What they take from the budget.
        selectable: Whether they may be selected.
        said_by: Where the name of the one who says it stands; None where that is not known.
        needs_previous: Whether they are understood with the one before only; all False where that
            is not asked.
    """

    limit: int
    sentences: list[int]
    spans: list[Span]
    texts: list[str]
    costs: list[int]
    selectable: list[bool]
    said_by: list[Span | None]
    needs_previous: list[bool]

    @cached_property
    def alike(self) -> list[str]:
        """Equal for those that say the same; see `repeats`."""
        return repeats(self.texts)

    def __getitem__(self, index: int) -> Candidate:
        sentence, (start, end) = self.sentences[index], self.spans[index]
        text, cost, name = self.texts[index], self.costs[index], self.said_by[index]
        return Candidate(sentence, start, end, text, cost, name)


def _any_fits(costs: Sequence[int], limit: int, selectable: Sequence[bool]) -> bool:
    """Whether one that may be selected is within the limit."""
    return any(compress((cost <= limit for cost in costs), selectable))


def summary_text(selected: Sequence[Candidate]) -> str:
    """What was selected, each on one line, also where it was broken over lines."""
    return "\n".join(" ".join(candidate.text.split()) for candidate in selected)


@register_head
class SummarizationHead(Head):
    """A score for each sentence, from its vector, its segment's, its document's and its place.

    Args:
        config: Reads `hidden_size`, `sentence_layers`, `sentence_reach`, `attention_heads`,
            `dropout`, `listwise_loss_weight`, `sentence_weights` and `sentence_stack`; of its
            features `sentence_features` and `central_words`.
    """

    name = "summarization"
    verb = "summarize"
    attribute = "summarizer"
    reads = frozenset(["document", "segment_states", "sentence"])
    level = "sentence"
    settings = (*SUMMARY_BUDGETS, *OPTIONS, "sentence_kinds", "evidence", QUERY)

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.listwise_loss_weight = config.listwise_loss_weight
        self.sentence_norm = nn.LayerNorm(hidden)
        self.segment_norm = nn.LayerNorm(hidden)
        self.document_norm = nn.LayerNorm(hidden)
        self.from_segment = nn.Linear(hidden, hidden)
        self.from_document = nn.Linear(hidden, hidden)
        # Place in the document, place in the segment, and the sentence's length in tokens.
        self.from_place = nn.Linear(2 * POSITION_FEATURES + 1, hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.context = Aggregator(
            hidden,
            config.sentence_layers,
            config.heads,
            config.dropout,
            group_token=False,
            reach=config.sentence_reach,
        )
        self.hidden = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, 1)
        self.sentence_weights = config.sentence_weights
        if set(self.sentence_weights or {}) - {"deep"}:
            self.reads = self.reads | {CentralWords.name}
        if "stack" in (self.sentence_weights or {}):
            self.reads = self.reads | {SentenceFeatures.name}
            self.stack = SentenceStack.from_config(config)
        self.asked = None
        if config.sentence_queries:
            self.reads = self.reads | {*config.sentence_queries, "query"}
            inputs = inputs_with(pairs=QueryPairs.name in self.reads)
            self.asked = StandardisedLinear(inputs, 1)

    @classmethod
    def of(cls, config: HierBertConfig) -> "SummarizationHead":
        """This one where scores are learnt, else the one that is registered for them."""
        if config.summary_scores == _LEARNT:
            return cls(config)
        check_registered("way to score sentences", [config.summary_scores], SUMMARIZERS)
        return SUMMARIZERS[config.summary_scores](config)

    def shares(self, scores: Tensor) -> Tensor:
        """What answers call a sentence's score, 0 to 1, of float (N,)."""
        return scores.sigmoid()

    def forward(self, vectors: Vectors) -> Tensor:
        """A score (logit) for each sentence: the weighted sum of its members, or the layers' alone.

        Training steps learn the layers alone, whatever their part in the sum is. Where something is
        asked, it is what a linear model makes of that score and of how near the sentence is.

        Returns:
            float (N,), of the batch's sentences.

        Raises:
            ValueError: There are no sentence vectors, or it is not known where they belong.
        """
        scores = self._general(vectors)
        if self.asked is None or self.training or vectors.query is None:
            return scores
        lengths = vectors.structure.sentences_per_document
        pairs = vectors.features[QueryPairs.name] if QueryPairs.name in self.reads else None
        read = query_inputs(scores, near_of(vectors), lengths, pairs)
        asked = self.asked(read).squeeze(-1)
        return torch.where(vectors.query.any(1)[group_of_unit(lengths)], asked, scores.float())

    def _general(self, vectors: Vectors) -> Tensor:
        """The sum, whatever is asked, float (N,)."""
        if self.sentence_weights is None or self.training:
            return self._deep(vectors)
        members = {
            "deep": lambda: self._deep(vectors).float(),
            "stack": lambda: self.stack(
                vectors.features[SentenceFeatures.name],
                vectors.features[CentralWords.name],
                vectors.sentence,
                vectors.structure.sentences_per_document,
            ),
            CentralWords.name: lambda: vectors.features[CentralWords.name],
        }
        weighed = [weight * members[name]() for name, weight in self.sentence_weights.items()]
        return torch.stack(weighed).sum(0)

    def _deep(self, vectors: Vectors) -> Tensor:
        """The layers' scores, float (N,).

        Raises:
            ValueError: There are no sentence vectors, or it is not known where they belong.
        """
        structure, sentence_vectors = vectors.structure, vectors.sentence
        sentence_segments, sentence_tokens = structure.sentence_segments, structure.sentence_tokens
        if sentence_vectors is None or sentence_segments is None or sentence_tokens is None:
            raise ValueError(
                "a model that summarizes needs sentence_index, sentence_segments and "
                "sentence_tokens, as HierBertProcessor makes them"
            )
        sentences_per_document = structure.sentences_per_document
        segment_states, document_vectors = vectors.segment_states, vectors.document
        if len(sentence_vectors) == 0:
            # Every process must run every parameter, also for a batch of empty documents.
            everything = [segment_states, document_vectors, *self.parameters()]
            return sentence_vectors[:, 0] + sum(each.sum() for each in everything)
        documents = group_of_unit(sentences_per_document)
        index = torch.arange(len(sentence_vectors), device=sentence_vectors.device)
        in_document = index - group_starts(sentences_per_document)[documents]
        per_segment = torch.bincount(sentence_segments, minlength=len(segment_states))
        in_segment = index - group_starts(per_segment)[sentence_segments]
        # Once a segment and a document, not once a sentence.
        of_segment = self.from_segment(self.segment_norm(segment_states))
        of_document = self.from_document(self.document_norm(document_vectors))

        def begin(
            vectors: Tensor,
            documents: Tensor,
            in_document: Tensor,
            segments: Tensor,
            in_segment: Tensor,
            tokens: Tensor,
        ) -> Tensor:
            place = torch.cat(
                [
                    position_features(in_document, sentences_per_document[documents]),
                    position_features(in_segment, per_segment[segments]),
                    torch.log1p(tokens.float())[:, None] / 4.0,
                ],
                dim=1,
            )
            around = of_segment[segments] + of_document[documents]
            sentences = self.sentence_norm(vectors.to(self.hidden.weight.dtype))
            return self.dropout(sentences + around + self.from_place(place.to(sentences.dtype)))

        states = in_parts(
            begin,
            sentence_vectors,
            documents,
            in_document,
            sentence_segments,
            in_segment,
            sentence_tokens,
        )
        filled = sentences_per_document[sentences_per_document > 0]
        states, _ = self.context(states, filled, in_place=True)
        return in_parts(
            lambda rows: self.output(self.dropout(F.gelu(self.hidden(rows)))).squeeze(-1), states
        )

    @classmethod
    def options(cls, config: HierBertConfig, given: Mapping[str, Any]) -> SummaryRule:
        """The model's own rule, but for what is given; at most one budget.

        A query is for the documents that are asked about, and only looked at here.
        """
        changes = {name: value for name, value in given.items() if value is not None}
        query = changes.pop(QUERY, None)
        if query is not None and (not isinstance(query, str) or not query.strip()):
            raise ValueError(f"query={query!r} is not allowed: a question, or some words")
        if query is not None and not cls.reads_queries(config):
            raise ValueError(f"query={query!r} is not allowed: this model was made without queries")
        if changes.get("evidence") and config.summary_scores != _LEARNT:
            raise ValueError("evidence is of learnt scores; these are how central a sentence is")
        if "evidence" in changes and not isinstance(changes["evidence"], bool):
            # Names of labels are for a head beside this one.
            if len(config.head_names) == 1:
                raise ValueError(f"evidence={changes['evidence']!r} is not allowed: true or false")
            changes["evidence"] = True
        budget = {name: changes.pop(name) for name in SUMMARY_BUDGETS if name in changes}
        if budget:
            changes["budget"] = Budget(**budget)
        return replace(SummaryRule.from_config(config), **changes)

    @staticmethod
    def reads_queries(config: HierBertConfig) -> bool:
        """Whether what is asked about a document has a part in its summary."""
        if config.summary_scores == _LEARNT:
            return bool(config.sentence_queries)
        return QueryWords.name in (config.features or {})

    def answer(
        self, answered: Answered, config: HierBertConfig, options: SummaryRule
    ) -> dict[str, Any]:
        """`summary`, its sentences a line each, and `sentences`, with their places.

        `over_limit` is there, and true, where the summary is longer than its limit: every word of
        the document is; `query_unmatched` where no word of what is asked is in the document. Where
        the kinds of sentences are asked for, `sentence_kinds` holds those of all. Where names of
        speakers are to be kept, `speakers` holds one for each of `sentences`, and where it stands,
        or None.
        """
        document, scores = answered.document, answered.scores[self.name]
        candidates = options.candidates(document)
        selected = options.select_from(candidates, scores.tolist())
        shares = self.shares(scores).tolist()
        sentences: list[SummarySentence] = []
        for one in selected:
            text = document.text[one.start : one.end]
            own = (text, one.start, one.end, shares[one.sentence])
            if options.sentence_kinds:
                kind = document.sentence_kinds[one.sentence]
                sentences.append(SummarySentenceOfKind(*own, kind))
            else:
                sentences.append(SummarySentence(*own))
        answer: dict[str, Any] = {"summary": summary_text(selected), "sentences": sentences}
        if options.keep_speaker:
            answer["speakers"] = [
                one.said_by
                and {
                    "text": document.text[slice(*one.said_by)],
                    "start": one.said_by[0],
                    "end": one.said_by[1],
                }
                for one in selected
            ]
        if options.sentence_kinds:
            spans = zip(document.sentence_spans, document.sentence_kinds, strict=True)
            answer["sentence_kinds"] = [
                {"start": start, "end": end, "kind": kind} for (start, end), kind in spans
            ]
        if sum(one.cost for one in selected) > candidates.limit:
            answer["over_limit"] = True
        is_asked = document.query is not None and self.reads_queries(config)
        if is_asked and not shares_words(document):
            answer["query_unmatched"] = True
        return answer

    def evidence(self, model: Any, answered: Answered, options: SummaryRule) -> dict[str, Any]:
        """`sentence_evidence`, for each of `sentences`; see `sentence_evidence`."""
        if not options.evidence:
            return {}
        candidates = options.candidates(answered.document)
        selected = options.select_from(candidates, answered.scores[self.name].tolist())
        own = [one.sentence for one in selected]
        others = sorted(set(compress(candidates.sentences, candidates.selectable)))
        return {"sentence_evidence": sentence_evidence(model, self, answered, own, others)}

    def losses(
        self, scores: Tensor, sentence_labels: Tensor, structure: Structure
    ) -> tuple[Tensor, Tensor]:
        """The mean binary cross-entropy of a document's sentences plus a listwise term.

        The listwise term is the divergence of the softmax of the scores from the labels'
        distribution (ListNet, Cao et al. 2007); a few positives among hundreds of sentences
        weigh in it as much as they should.

        Args:
            scores: float (N,).
            sentence_labels: How much each sentence belongs into the summary, float (N,) in
                [0, 1]; NaN in any sentence of a document leaves the document out.
            structure: Of the batch.
        """
        sentences_per_document = structure.sentences_per_document
        scores = scores.float()
        targets = sentence_labels.float()
        documents = group_of_unit(sentences_per_document)
        missing = torch.zeros(len(sentences_per_document), device=scores.device)
        missing = missing.index_add(0, documents, targets.isnan().float())
        labelled = (missing == 0) & (sentences_per_document > 0)
        targets = targets.masked_fill(~labelled[documents], 0.0)
        pointwise = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        losses = group_mean(pointwise, sentences_per_document)
        if self.listwise_loss_weight:
            mass = torch.zeros_like(missing).index_add(0, documents, targets)
            shares = targets / mass.clamp(min=1e-9)[documents]
            cross = -shares * group_log_softmax(scores, sentences_per_document)
            entropy = torch.special.entr(shares)
            listwise = torch.zeros_like(missing).index_add(0, documents, cross - entropy)
            losses = losses + self.listwise_loss_weight * listwise
        return torch.where(labelled, losses, losses * 0.0), labelled


SUMMARIZERS: dict[str, type[SummarizationHead]] = {}
"""Heads in the place of the learnt one, by what a config's `summary_scores` says."""
