"""An extract rewritten by a model that writes, and only as far as the extract says the same.

Each sentence that is written is held against the extract's: where it says a number, a name or a
negation that those it comes from do not, these stand in its place. Invariants: what comes out is
within the budget that the extract is within, and depends on the document, the model and what it is
asked alone.
"""

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hierbert.errors import ConfigError, not_allowed, type_name
from hierbert.loading.fingerprints import folder_fingerprint
from hierbert.loading.generators import Generator, UnreadableError, find_commit, load_generator
from hierbert.log import log
from hierbert.model.same_words import repeats
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.selection import Budget, select_sentences, sentence_costs
from hierbert.model.sentences import split_sentences
from hierbert.model.summarization_head import SummaryRule, SummarySentence
from hierbert.prediction.grounding import Said, grounds
from hierbert.state_files import file_checksum

INSTRUCTION = (
    "Rewrite this text as short, clear prose. Keep its words, numbers and names, and add nothing."
)
"""What a causal model is asked for where nothing else is said."""
# What is written may be so much longer than what is read, in tokens, before it is cut off.
_LONGER, _AT_LEAST = 1.5, 32
# Marks of a list that a model makes of the sentences.
_ITEM = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s+", re.MULTILINE)
# After so many summaries of which none could be rewritten, the log says so.
_HOPELESS = 20


@dataclass(frozen=True)
class RewrittenSentence:
    """A sentence of a rewritten summary.

    Attributes:
        text: As the model wrote it; or, where that fell back, one of the extract's sentences.
        extracts: Which sentences of the summary it comes from, by their places in `sentences`.
        flags: Why it fell back: "number: ...", "name: ..." and "negation: ..." that are in none of
            the sentences it comes from; "negation left out"; "words" where half of its words are
            not theirs; "repeats"; "unfinished"; or of the whole answer "nothing written",
            "something else", "too long to read" and "over the limit".
        fell_back: Whether the extract's sentence stands in the place of what was written.
    """

    text: str
    extracts: list[int]
    flags: list[str]
    fell_back: bool


@dataclass(frozen=True)
class Rewriter:
    """A model that turns an extract into prose, and what it is asked for.

    It is loaded when it is first needed, once in a process.

    Args:
        source: A folder with config.json, safetensors and a tokenizer; a GGUF file, or a folder
            with one; a Hub id, or a GGUF file there (``user/name/file.gguf``).
        instruction: What the model is asked for; None for `INSTRUCTION` where it is a causal model,
            and for nothing but what it was trained for where it is an encoder-decoder.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether code of its repository may run; where it may not, a model that
            has code of its own is refused.

    Raises:
        ConfigError: The source or the instruction is not allowed.
    """

    source: str
    instruction: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Refuse what is blank or no text."""
        for name, value in (("rewrite", self.source), ("rewrite_instruction", self.instruction)):
            if not isinstance(value, str | None) or (value is not None and not value.strip()):
                raise not_allowed(f".{name}", value, "a text")
        # Another process may have another working folder.
        path = os.path.expanduser(self.source)
        if os.path.exists(path):
            object.__setattr__(self, "source", os.path.abspath(path))
            if self.revision is not None:
                raise ConfigError(
                    "is for models of the Hub, and the rewriter is a folder or file here",
                    setting=".rewrite_revision",
                    value=self.revision,
                )

    @classmethod
    def of(cls, given: "str | os.PathLike[str] | Rewriter") -> "Rewriter":
        """One that is given, or that of a name; a ConfigError for what is neither."""
        if isinstance(given, cls):
            return given
        if not isinstance(given, str | os.PathLike):
            allowed = "a folder, a Hub id, or a Rewriter"
            raise ConfigError(f"rewrite is {type_name(given)}", allowed=allowed)
        return cls(os.fspath(given))

    def load(self, device: str | torch.device) -> Generator:
        """The model, on a device; raises as `load_generator`."""
        return _loaded(self.source, self.revision, str(device), self.trust_remote_code)

    def find_revision(self) -> str | None:
        """The commit where a branch of the Hub is now, None elsewhere; raises as `load`."""
        return find_commit(self.source, self.revision)

    @property
    def fingerprint(self) -> str:
        """What tells it from others, wherever it lies: a hash of its files, or name and commit."""
        if os.path.isfile(self.source):
            return file_checksum(Path(self.source))
        if os.path.isdir(self.source):
            return folder_fingerprint(self.source)
        return f"{self.source}@{self.revision}"


@functools.lru_cache(maxsize=1)
def _loaded(source: str, revision: str | None, device: str, trust_remote_code: bool) -> Generator:
    return load_generator(source, revision, device, trust_remote_code)


class Rewriting:
    """Rewrites summaries, one after the other, by a model that is loaded.

    Args:
        generator: Writes.
        instruction: See `Rewriter`.
        tokenizer: Of the encoder, by which a budget of tokens counts.
    """

    def __init__(
        self, generator: Generator, instruction: str | None, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._generator, self._tokenizer = generator, tokenizer
        self._instruction = instruction
        if instruction is None and not generator.has_encoder:
            self._instruction = INSTRUCTION
        self._tried = self._used = 0

    def fields(
        self, sentences: Sequence[SummarySentence], document: SegmentedDocument, rule: SummaryRule
    ) -> dict[str, Any]:
        """`rewritten`, a sentence a line, and `rewritten_sentences`, of a document's summary."""
        candidates = rule.candidates(document)
        places = {span: place for place, span in enumerate(candidates.spans)}
        chosen = [candidates[places[one.start, one.end]] for one in sentences]
        made = self._rewrite([one.text for one in chosen])
        # What stands in the extract costs what it did there.
        costs = [
            chosen[one.extracts[0]].cost if one.fell_back else cost
            for one, cost in zip(made, self._costs(made, rule.budget), strict=True)
        ]
        if made and min(costs) > candidates.limit:
            made = _verbatim([Said(one.text) for one in chosen], "over the limit")
        else:
            scores = [max(sentences[place].score for place in one.extracts) for one in made]
            alike: list[str | int] = [*repeats([one.text for one in made])]
            if rule.budget.ratio == 1:
                # Of all of a document nothing is left out, nor what is there twice.
                alike = [n if one.fell_back else alike[n] for n, one in enumerate(made)]
            within = select_sentences(scores, costs, candidates.limit, alike=alike)
            made = [made[place] for place in within]
        self._count(made)
        return {
            "rewritten": "\n".join(one.text for one in made),
            "rewritten_sentences": made,
        }

    def _costs(self, made: Sequence[RewrittenSentence], budget: Budget) -> list[int]:
        """What sentences take from a budget."""
        texts = [one.text for one in made]
        tokens: list[int] = []
        if texts and budget.unit == "tokens":
            clean = [text.encode("utf-8", "replace").decode() for text in texts]
            tokens = list(map(len, self._tokenizer(clean, add_special_tokens=False)["input_ids"]))
        return sentence_costs(texts, budget, tokens)

    def _count(self, made: list[RewrittenSentence]) -> None:
        self._tried += bool(made)
        self._used += any(not one.fell_back for one in made)
        if self._tried == _HOPELESS and not self._used:
            flags = sorted({flag.partition(":")[0] for one in made for flag in one.flags})
            log.warning(
                f"none of the first {_HOPELESS} summaries could be rewritten: all of them are the "
                f"extract's own sentences (the last one for: {', '.join(flags)})"
            )

    def _rewrite(self, texts: list[str]) -> list[RewrittenSentence]:
        """Sentences rewritten in parts that the model reads at once, and the parts again as one."""
        extract = [Said(text) for text in texts]
        made = []
        parts = self._parts(texts)
        for first, last in parts:
            made += [
                replace(one, extracts=[first + place for place in one.extracts])
                for one in self._write(texts[first:last], extract[first:last])
            ]
        if len(parts) > 1 and self._fits([one.text for one in made]):
            reduced = self._write([one.text for one in made], extract)
            if not all(one.fell_back for one in reduced):
                return reduced
        return made

    def _parts(self, texts: list[str]) -> list[tuple[int, int]]:
        """Runs of sentences that fit, each as long as can be; one that fits nowhere is alone."""
        parts: list[tuple[int, int]] = []
        first = 0
        for last in range(1, len(texts) + 1):
            if last - first > 1 and not self._fits(texts[first:last]):
                parts.append((first, last - 1))
                first = last - 1
        return [*parts, (first, len(texts))] if texts else []

    def _request(self, texts: list[str]) -> tuple[list[int], int] | None:
        """Its tokens, and how many may be written; None where the model cannot read so much."""
        text = " ".join(texts)
        most = int(_LONGER * self._generator.count(text)) + _AT_LEAST
        try:
            asked = self._generator.encode(text, self._instruction)
        except UnreadableError:
            return None
        taken = max(len(asked), most) if self._generator.has_encoder else len(asked) + most
        return (asked, most) if taken <= self._generator.window else None

    def _fits(self, texts: list[str]) -> bool:
        return self._request(texts) is not None

    def _write(self, texts: list[str], extract: list[Said]) -> list[RewrittenSentence]:
        """What the model makes of some texts, held against the sentences of an extract."""
        request = self._request(texts)
        if request is None:
            return _verbatim(extract, "too long to read")
        written = self._generator.write(*request)
        text = _ITEM.sub("", written.text)
        drafts = [Said(text[start:end]) for start, end in split_sentences(text)]
        return check(drafts, written.finished, extract)


def check(drafts: list[Said], finished: bool, extract: list[Said]) -> list[RewrittenSentence]:
    """Sentences as they were written, with the extract's in the place of those that are flagged.

    What shares no words with the extract is left out. Nothing is said twice: where a sentence of
    the extract stands itself, what was written of it alone does not. `finished` is whether the last
    draft came to its end.
    """
    if not drafts:
        return _verbatim(extract, "nothing written")
    made: list[RewrittenSentence] = []
    for place, draft in enumerate(drafts):
        sources, flags = grounds(draft, extract)
        if draft.loops:
            flags.append("repeats")
        if place == len(drafts) - 1 and not finished:
            flags.append("unfinished")
        if sources:
            made.append(RewrittenSentence(draft.text, sources, flags, fell_back=bool(flags)))
    if not made:
        return _verbatim(extract, "something else")
    # Of each sentence of the extract that has to stand itself: why, by the first that fell back.
    why: dict[int, list[str]] = {}
    for one in made:
        if one.fell_back:
            why = dict.fromkeys(one.extracts, one.flags) | why
    kept: list[RewrittenSentence] = []
    stand: set[int] = set()
    for one in made:
        if not one.fell_back and not why.keys() >= set(one.extracts):
            kept.append(one)
            continue
        own = [place for place in one.extracts if place not in stand]
        stand.update(own)
        kept += [_stands(extract[place], place, why[place]) for place in own]
    return kept


def _stands(sentence: Said, place: int, flags: list[str]) -> RewrittenSentence:
    return RewrittenSentence(sentence.text, [place], flags, fell_back=True)


def _verbatim(extract: list[Said], flag: str) -> list[RewrittenSentence]:
    return [_stands(one, place, [flag]) for place, one in enumerate(extract)]
