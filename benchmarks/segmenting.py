"""How many tokens a second one core segments: what has to feed an encoder.

    python benchmarks/segmenting.py --data FOLDER

Processor time of this process, so that neighbours on the machine count little; one thread. The
documents are those of speed.py. The estimate of cost in docs/ray.md takes this figure.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.figures import Spread
from benchmarks.common.models import load_tokenizer
from benchmarks.common.report import DEFAULT_ENCODER, finish
from benchmarks.common.sample import draw, read_corpora
from hierbert.model.processing_hierbert import HierBertProcessor

_CHARACTERS = 4_000_000
_ROUNDS = 5
_DOCUMENTS_PER_CALL = 32


def main(argv: list[str] | None = None) -> int:
    """Segment the sample some times and print the rate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="folder of the corpora; see benchmarks/README.md")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="JSON file")
    options = parser.parse_args(argv)
    sample = draw(*read_corpora(options.data)[:1], _CHARACTERS, options.seed)
    processor = HierBertProcessor(load_tokenizer(DEFAULT_ENCODER), max_tokens_per_segment=512)
    rates, tokens = [], 0
    for _ in range(_ROUNDS):
        started, tokens = time.process_time(), 0
        for first in range(0, len(sample.texts), _DOCUMENTS_PER_CALL):
            documents = processor.segment(sample.texts[first : first + _DOCUMENTS_PER_CALL])
            tokens += sum(len(document.input_ids) for document in documents)
        rates.append(tokens / (time.process_time() - started))
    characters = sum(map(len, sample.texts))
    lines = [
        f"One core segments {Spread.of(rates).show(0)} tokens/s ({_ROUNDS} rounds over "
        f"{len(sample.texts):,} documents, {tokens:,} tokens, {characters / tokens:.2f} characters "
        f"a token; sample {sample.hash}; processor time).",
    ]
    values = {"tokens_per_second": rates, "characters_per_token": characters / tokens}
    finish("segmenting", "Segmenting", True, lines, values, output=options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
