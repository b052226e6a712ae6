"""The words of a document's sentences as weights, from which follows how alike sentences are.

No vocabulary outlives the document. Sums over all pairs of sentences are never kept whole: what is
similar to one sentence, or to a few, is computed when it is asked for.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from .ragged import group_starts
from .words import WORD

# Letters by which the forms of a word are one, in any alphabet.
_STEM = 5
# So many columns of a dense matrix of sentences and words.
_WORDS_AT_ONCE = 2048


def stems(text: str) -> list[str]:
    """The words of a text without regard to case, each by its first five letters.

    In scripts without spaces each letter is a word.
    """
    return [word[:_STEM] for word in WORD.findall(text.casefold())]


class SentenceWords:
    """Sentences as TF-IDF weights of words, each of length 1; N sentences, V different words.

    A word weighs its count in the sentence by ``log(N / n)``, where n of the N sentences have it,
    so that a word of all sentences counts for nothing. A sentence without words is one of zeros.

    Args:
        sentences: The words of each.
    """

    def __init__(self, sentences: Sequence[Sequence[str]]) -> None:
        numbers: dict[str, int] = {}
        columns: list[int] = []
        counts: list[int] = []
        lengths: list[int] = []
        for words in sentences:
            own = Counter(words)
            columns += [numbers.setdefault(word, len(numbers)) for word in own]
            counts += own.values()
            lengths.append(len(own))
        self.count = len(sentences)
        self.columns = torch.tensor(columns, dtype=torch.int64)
        self.lengths = torch.tensor(lengths, dtype=torch.int64)
        self.starts = group_starts(self.lengths)
        self.rows = torch.arange(self.count).repeat_interleave(self.lengths)
        # Of each word, in how many sentences it is.
        self.having = torch.bincount(self.columns, minlength=len(numbers))
        idf = (self.count / self.having.double()).log()
        values = torch.tensor(counts, dtype=torch.float64) * idf[self.columns]
        squares = torch.zeros(self.count, dtype=torch.float64).index_add(0, self.rows, values**2)
        self.values = values / squares.sqrt().clamp(min=1e-12)[self.rows]
        self._has_weight = (squares > 0).double()
        # The same entries word by word.
        self._order = self.columns.argsort(stable=True)
        self._word_starts = group_starts(self.having).tolist()

    def similar_to(self, sentence: int) -> Tensor:
        """The cosine of each sentence to one of them, float64 (N,)."""
        cosines = torch.zeros(self.count, dtype=torch.float64)
        first = int(self.starts[sentence])
        for entry in range(first, first + int(self.lengths[sentence])):
            word = int(self.columns[entry])
            begin = self._word_starts[word]
            those = self._order[begin : begin + int(self.having[word])]
            cosines.index_add_(0, self.rows[those], self.values[those] * self.values[entry])
        return cosines

    def centroid_cosines(self) -> Tensor:
        """The cosine of each sentence to the sum of all, float64 (N,)."""
        total = torch.zeros(len(self.having), dtype=torch.float64)
        total.index_add_(0, self.columns, self.values)
        products = self.values * total[self.columns] / total.norm().clamp(min=1e-12)
        return torch.zeros(self.count, dtype=torch.float64).index_add(0, self.rows, products)

    def cosines(self, first: int, last: int, begin: int, end: int) -> Tensor:
        """Of the sentences from `first` to `last` with those from `begin` to `end`.

        Args:
            first: Of some sentences.
            last: One after the last of them.
            begin: Of those around them, which hold them.
            end: One after the last of those.

        Returns:
            float64 (last - first, end - begin).
        """
        own, inside = self._entries(first, last), self._entries(begin, end)
        rows, columns, values = self.rows[inside] - begin, self.columns[inside], self.values[inside]
        words = self.columns[own].unique()
        # What one sentence alone has is in no product but that with itself.
        found = torch.zeros(last - first, end - begin, dtype=torch.float64)
        for some in words[self.having[words] > 1].split(_WORDS_AT_ONCE):
            number = torch.full((len(self.having),), -1)
            number[some] = torch.arange(len(some))
            known = number[columns] >= 0
            dense = torch.zeros(end - begin, len(some), dtype=torch.float64)
            dense[rows[known], number[columns[known]]] = values[known]
            found += dense[first - begin : last - begin] @ dense.T
        found.diagonal(first - begin).copy_(self._has_weight[first:last])
        return found

    def _entries(self, first: int, last: int) -> slice:
        before = int(self.lengths[:first].sum())
        return slice(before, before + int(self.lengths[first:last].sum()))
