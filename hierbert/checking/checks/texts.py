"""Documents with nothing to read, with next to nothing, and of a single sentence."""

from collections.abc import Iterable

from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding
from hierbert.model.sentences import split_sentences

_FEW_WORDS = 10
# A text of more words has several sentences, or has lost what ends them.
_LONG_SENTENCE = 100
# Of a corpus.
_MANY = 0.1


# Of a text; most show here already that they have several sentences.
_START = 2_000


@register_check
class Texts(Check):
    """Blank, short and one-sentence documents."""

    name = "texts"

    @override
    def begin(self) -> None:
        self._blank: list[int] = []
        self._short: list[int] = []
        self._one_sentence: list[int] = []
        self._unbroken: list[int] = []

    @override
    def add(self, document: ReadDocument) -> None:
        words = len(document.text.split())
        if not words:
            self._blank.append(document.number)
            return
        # Scripts without spaces have words of many letters.
        if words < _FEW_WORDS and len(document.hashes) < _FEW_WORDS:
            self._short.append(document.number)
            return
        if _is_one_sentence(document):
            many = len(document.hashes) >= _LONG_SENTENCE
            (self._unbroken if many else self._one_sentence).append(document.number)

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        if self._blank:
            yield corpus.finding(
                "warning",
                "blank_documents",
                self._blank,
                "hold no text",
                "leave them out, or give data.text_column an alternative: text|body",
            )
        if self._short:
            yield corpus.finding(
                "warning" if len(self._short) > _MANY * corpus.size else "note",
                "short_documents",
                self._short,
                f"have fewer than {_FEW_WORDS} words",
                "look whether data.text_column is the text, and not its title",
            )
        if self._unbroken:
            yield corpus.finding(
                "warning",
                "no_sentence_ends",
                self._unbroken,
                f"are one sentence of {_LONG_SENTENCE} words or more",
                "look whether full stops were lost: segments and summaries are made of sentences",
            )
        if self._one_sentence and "summary" in corpus.config.data.fields:
            yield corpus.finding(
                "warning",
                "one_sentence_documents",
                self._one_sentence,
                "are one sentence, which is all that a summary can pick",
                "leave them out",
            )
        elif len(self._one_sentence) > _MANY * corpus.size:
            yield corpus.finding(
                "note",
                "one_sentence_documents",
                self._one_sentence,
                "are one sentence",
                "short texts do not need a hierarchical model",
            )


def _is_one_sentence(document: ReadDocument) -> bool:
    if not isinstance(document.example.text, str):
        return len(document.example.text) <= 1
    starts = (document.text[:_START], document.text)
    return all(len(split_sentences(start)) <= 1 for start in starts)
