"""Which systems run against each other, and whether their outputs are what they should be.

Outputs are compared before anything is timed. Invariant: a system whose outputs differ is not
timed, and its row says so.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel

from benchmarks.common.models import Shape, build_model, load_tokenizer, save_model
from benchmarks.common.rounds import say
from benchmarks.systems.base import System, Unavailable, tune
from benchmarks.systems.belt import Belt
from benchmarks.systems.lexglue import LexGlueLayout
from benchmarks.systems.long_transformer import LongTransformer
from benchmarks.systems.naive import Naive
from benchmarks.systems.ours import Ours
from benchmarks.systems.sentence_transformer import SentenceTransformersEncode
from hierbert.loading.encoders import resolve_encoder

MEAN, CLS = "ours, mean pooling", "ours, cls pooling"
OPTIONS: dict[str, dict[str, Any]] = {
    "ours, tokens_per_forward=auto": {"tokens_per_forward": "auto"},
    "ours, compile": {"compile": True},
    "ours, dtype=int8": {"dtype": "int8"},
    "ours, dtype=int8 without compiling": {"dtype": "int8", "compile": False},
    "ours, backend=onnx": {"backend": "onnx"},
    "ours, backend=openvino": {"backend": "openvino"},
    "ours, backend=openvino, dtype=int8": {"backend": "openvino", "dtype": "int8"},
}
# Slower here than float32 on most CPUs: they run on the small sample.
SMALL_OPTIONS: dict[str, dict[str, Any]] = {
    "ours, dtype=bfloat16": {"dtype": "bfloat16"},
    "ours, dtype=float16": {"dtype": "float16"},
    "ours, dtype=auto": {"dtype": "auto"},
}
BELT, ENCODE, NAIVE = Belt.name, SentenceTransformersEncode.name, Naive.name
TUNED_ENCODE = f"{ENCODE}, tuned"
ENCODE_BATCH_SIZE = 32
# The others have read the small sample when their outputs were compared.
UNWARMED = (LexGlueLayout.name, "Longformer", "ModernBERT")
TOLERANCE = 1e-4
INT8_COSINE = 0.995
_LEAST_COSINE = 0.99


@dataclass
class Row:
    """A line of the table: a system, or the reason why there is none.

    With what its outputs were compared with, and whether they are off by more than allowed.
    """

    name: str
    system: System | None = None
    reason: str = ""
    checked: str = ""
    differs: bool = False

    @property
    def timed(self) -> bool:
        """Whether it is run in the rounds."""
        return self.system is not None and not self.differs


@dataclass
class Lineup:
    """All rows, those of the whole sample and those of the small one."""

    main: dict[str, Row] = field(default_factory=dict)
    small: dict[str, Row] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """Each once."""
        return list(({**self.small, **self.main}).values())


class _Builder:
    def __init__(
        self, encoder: str, seed: int, texts: Sequence[str], small: Sequence[str], folder: Path
    ) -> None:
        self.encoder, self.seed = encoder, seed
        self.texts, self.small_texts = list(texts), list(small)
        self.folder = folder
        self.source = resolve_encoder(encoder)
        self.shape = Shape.of(encoder)
        self.tokenizer = load_tokenizer(encoder)
        self.models = {
            pooling: build_model(encoder, seed, pooling=pooling) for pooling in ("mean", "cls")
        }
        for pooling in self.models:
            save_model(encoder, folder / pooling, seed, pooling=pooling)
        self.mean = Ours(MEAN, folder / "mean", "float32, as it comes")
        self.cls = Ours(CLS, folder / "cls", "float32, as it comes")

    def plain_encoder(self) -> torch.nn.Module:
        """The encoder as transformers loads it."""
        return AutoModel.from_pretrained(self.source, dtype=torch.float32).eval()

    def row(
        self, name: str, build: Callable[[], System], check: Callable[[Any], tuple[str, bool]]
    ) -> Row:
        """A row: the system is built, run once, and compared."""
        say(f"preparing {name}")
        row = Row(name)
        try:
            system = build()
            row.checked, row.differs = check(system)
            row.system = system
        except Unavailable as error:
            row.reason = str(error)
        # One system that breaks must not cost the others their rows; its own row says what broke.
        except Exception as error:
            row.reason = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:160]}"
        if row.reason or row.differs:
            say(f"  {row.reason or row.checked}")
        return row

    def option(self, name: str, options: dict[str, Any]) -> Row:
        """One of our own options against the defaults."""
        exact = "dtype" not in options
        wanted = INT8_COSINE if options.get("dtype") == "int8" else _LEAST_COSINE

        def check(system: Ours) -> tuple[str, bool]:
            if exact:
                return self.against_ours(system, self.mean)
            return self.close(system, wanted)

        return self.row(name, lambda: Ours(name, self.folder / "mean", **options), check)

    def against_ours(self, system: Any, ours: Ours) -> tuple[str, bool]:
        """Segment vectors and logarithms of probabilities against ours."""
        texts = self.small_texts
        vectors = _difference(system.segment_vectors(texts), ours.segment_vectors(texts))
        if isinstance(system, Ours):
            answers = system.log_probabilities(texts)
        else:
            answers = F.log_softmax(system.logits(texts).double(), dim=1)
        labels = _difference(answers, ours.log_probabilities(texts))
        differs = not max(vectors, labels) <= TOLERANCE
        return f"segment vectors {vectors:.0e}, log-probabilities {labels:.0e} from ours", differs

    def close(self, system: Ours, wanted: float) -> tuple[str, bool]:
        """Cosines of segment vectors and labels of a reduced dtype against float32."""
        texts = self.small_texts
        one, other = system.segment_vectors(texts), self.mean.segment_vectors(texts)
        cosine = float(F.cosine_similarity(one.double(), other.double()).min())
        same = sum(
            a == b for a, b in zip(system.classify(texts), self.mean.classify(texts), strict=True)
        )
        said = f"least cosine {cosine:.4f} (wanted {wanted}), {same} of {len(texts)} labels equal"
        return said, not cosine >= wanted

    def encode(self, batch_size: int = ENCODE_BATCH_SIZE) -> System:
        """sentence-transformers as it comes: 32 is the default of its `encode`."""
        segments = dict(zip(self.texts, self.mean.segment_texts(self.texts), strict=True))
        length = self.mean.predictor.processor.max_tokens_per_segment
        return SentenceTransformersEncode(self.source, length, segments, batch_size, self.seed)

    def tuned_encode(self) -> System:
        """sentence-transformers at its fastest batch size."""
        few = self.texts[: max(1, len(self.texts) // 4)]
        return tune((4, 8, 16), self.encode, few)[0]

    def check_encode(self, system: SentenceTransformersEncode) -> tuple[str, bool]:
        """Its segment vectors against ours."""
        texts = self.texts[: max(1, len(self.texts) // 4)]
        one, other = system.segment_vectors(texts), self.mean.segment_vectors(texts)
        off = (one - other).abs().amax(1)
        # Text that is tokenized again may begin in the middle of a word that was cut.
        equal = float((off <= TOLERANCE).float().mean())
        return f"{100 * equal:.0f} % of segment vectors within {TOLERANCE:.0e} of ours", equal < 0.9

    def belt(self) -> System:
        """belt-nlp at its fastest batch size."""
        encoder = self.plain_encoder()

        def build(size: int) -> System:
            return Belt(encoder, self.tokenizer, self.shape.hidden_size, size, self.seed)

        return tune((1, 2, 8), build, self.small_texts)[0]

    def check_belt(self, system: Belt) -> tuple[str, bool]:
        """Its logits against those of our encoder over the pieces it cuts, with its head."""
        texts = self.small_texts
        pieces = system.pieces(texts)
        flat = [piece for document in pieces for piece in document]
        owners = torch.arange(len(flat)).repeat_interleave(torch.tensor([len(p) for p in flat]))
        ones = torch.ones(len(flat), dtype=torch.int64)
        with torch.inference_mode():
            output = self.cls.predictor.model.hierbert(
                input_ids=torch.cat(flat),
                segment_lengths=torch.tensor([len(piece) for piece in flat]),
                sentence_index=owners,
                segments_per_document=ones,
                sentences_per_document=ones,
            )
            scores = system.head(output.segment_vectors)
        parts = scores.split([len(document) for document in pieces])
        expected = torch.stack([part.mean(0) for part in parts])
        off = _difference(system.logits(texts), expected)
        return f"logits {off:.0e} from its head on our cls vectors of its pieces", off > TOLERANCE

    def unlike(self, system: System) -> tuple[str, bool]:
        """Nothing to compare: it computes something else. It is run once."""
        system.classify(self.small_texts[:1])
        return "another model: nothing to compare", False

    def long(self, kind: str) -> System:
        """A long transformer for the longest document of the small sample."""
        longest = max(
            len(ids)
            for ids in self.tokenizer(self.small_texts, add_special_tokens=False)["input_ids"]
        )
        return LongTransformer(kind, self.tokenizer, self.shape, longest + 2, self.seed)


def build_lineup(encoder: str, seed: int, texts: Sequence[str], small: Sequence[str]) -> Lineup:
    """Build all systems and compare their outputs on the small sample."""
    with tempfile.TemporaryDirectory() as folder:
        make = _Builder(encoder, seed, texts, small, Path(folder))
        lineup = Lineup()
        naive = {pooling: Naive(*parts) for pooling, parts in make.models.items()}
        for ours, pooling in ((make.mean, "mean"), (make.cls, "cls")):
            said, differs = make.against_ours(naive[pooling], ours)
            said = said.replace("from ours", "from naive padding's")
            lineup.main[ours.name] = Row(ours.name, ours, checked=said, differs=differs)
        for name, options in OPTIONS.items():
            lineup.main[name] = make.option(name, options)
        lineup.main[ENCODE] = make.row(ENCODE, make.encode, make.check_encode)
        lineup.main[TUNED_ENCODE] = make.row(TUNED_ENCODE, make.tuned_encode, make.check_encode)
        lineup.main[BELT] = make.row(BELT, make.belt, make.check_belt)
        lineup.small[MEAN] = lineup.main[MEAN]
        lineup.main[NAIVE] = make.row(
            NAIVE, lambda: naive["mean"], lambda system: make.against_ours(system, make.mean)
        )
        lineup.small[LexGlueLayout.name] = make.row(
            LexGlueLayout.name,
            lambda: LexGlueLayout(make.plain_encoder(), make.tokenizer, make.shape, seed),
            make.unlike,
        )
        for kind, name in (("longformer", "Longformer"), ("modernbert", "ModernBERT")):
            build = _long_builder(make, kind)
            lineup.small[name] = make.row(name, build, make.unlike)
        for name, options in SMALL_OPTIONS.items():
            lineup.small[name] = make.option(name, options)
        return lineup


def _long_builder(make: _Builder, kind: str) -> Callable[[], System]:
    return lambda: make.long(kind)


def _difference(one: Tensor, other: Tensor) -> float:
    """The greatest difference; infinite where the shapes differ or a number is not finite."""
    if one.shape != other.shape or not bool(one.isfinite().all()):
        return float("inf")
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
