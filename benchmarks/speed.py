"""Text in, label out: ours against others, on one machine, in one run.

    python benchmarks/speed.py --data FOLDER          about ten minutes
    python benchmarks/speed.py --data FOLDER --quick  a minute or two, without verdicts

Outputs are compared first; then rounds in alternating order, with a matrix product as the
machine's yardstick before every measurement. See benchmarks/README.md.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cached_epoch import CachedEpochFailed, measure_epochs
from benchmarks.common.figures import Finding, Spread, ratios
from benchmarks.common.machine import GemmProbe
from benchmarks.common.models import Shape, load_tokenizer
from benchmarks.common.report import bench_parser, choose_sizes, finish, probed, table
from benchmarks.common.rounds import Rounds, run_rounds, say
from benchmarks.common.sample import CORPORA, FOLDER_VARIABLE, Sample, draw, read_corpora
from benchmarks.systems.lineup import (
    BELT,
    CLS,
    ENCODE,
    MEAN,
    NAIVE,
    TUNED_ENCODE,
    UNWARMED,
    Lineup,
    Row,
    build_lineup,
)
from benchmarks.systems.ours import Ours
from hierbert.cli.common import run_command

# Characters of the sample, of the small one, and of the corpus of the cached epochs; rounds of
# each, and of utilization.
FULL = {
    "characters": 130_000,
    "small": 40_000,
    "epochs": 400_000,
    "rounds": 5,
    "small_rounds": 3,
    "utilization_rounds": 15,
}
QUICK = {
    "characters": 24_000,
    "small": 8_000,
    "epochs": 150_000,
    "rounds": 2,
    "small_rounds": 1,
    "utilization_rounds": 3,
}
_FULL_SEGMENTS = 4
COMPILED, INT8 = "ours, compile", "ours, dtype=int8"
OPENVINO, OPENVINO_INT8 = "ours, backend=openvino", "ours, backend=openvino, dtype=int8"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = bench_parser(__doc__, "speed", FULL, QUICK)
    parser.add_argument(
        "--data", help=f"folder of the corpora movie-reviews and cuad (or {FOLDER_VARIABLE})"
    )
    parser.add_argument("--threads", type=int, help="of torch; its own choice without it")
    return parser


def measure(options: argparse.Namespace) -> bool:
    """Run the benchmark; whether all outputs were as they should be."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if options.threads:
        torch.set_num_threads(options.threads)
        # For the processes that are started from here.
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    sizes, full = choose_sizes(options, FULL, QUICK)
    corpora, note = read_corpora(options.data)
    full = full and sorted(corpora) == sorted(CORPORA)
    sample = draw(corpora, sizes["characters"], options.seed, note)
    small = draw(corpora, sizes["small"], options.seed, note)
    shape = Shape.of(options.encoder)
    probe = GemmProbe(shape.hidden_size, shape.intermediate_size)
    lineup = build_lineup(options.encoder, options.seed, sample.texts, small.texts)

    main = _time(lineup.main, sample, sizes["rounds"], probe, "sample:", lineup.main)
    few = _time(lineup.small, small, sizes["small_rounds"], probe, "small sample:", UNWARMED)
    utilization, flops = _utilization(lineup, shape, sizes["utilization_rounds"], probe)
    ours = lineup.main[MEAN].system
    assert isinstance(ours, Ours)
    real, reached = ours.encoded_tokens(sample.texts)
    epochs, epochs_note, epoch_probes = _epochs(options, corpora, sizes["epochs"], probe)

    tokenizer = load_tokenizer(options.encoder)
    tokens = {name: _tokens(tokenizer, s) for name, s in (("sample", sample), ("small", small))}
    findings = [
        *_ratio_findings(lineup, main, few),
        _utilization_finding(utilization, flops),
        Finding("padding", [1 - real / reached], note=f"{reached:,} tokens for {real:,}"),
        Finding(
            "cached_epoch",
            [epochs[1] / epochs[0]] if epochs else [],
            epoch_probes,
            epochs_note,
        ),
    ]
    lines = [
        f"Sample {sample.hash}: {len(sample.documents)} documents, {tokens['sample']:,} tokens; "
        f"small sample {small.hash}: {len(small.documents)} documents, {tokens['small']:,} tokens; "
        f"{note}. Seed {options.seed}. "
        f"{probed(main.probes() + few.probes() + utilization.probes())}",
        "",
        *_rows_table(lineup, lineup.main, main, tokens["sample"], (MEAN, CLS)),
        "",
        "On the small sample, with ours again beside them:",
        "",
        *_rows_table(lineup, lineup.small, few, tokens["small"], (MEAN,)),
    ]
    differing = [row.name for row in lineup.rows if row.differs]
    if differing:
        lines += ["", f"OUTPUTS DIFFER, not timed: {', '.join(differing)}."]
    values = {
        "seed": options.seed,
        "encoder": Path(options.encoder).name,
        "sizes": sizes,
        "sample": {**sample.record(), "tokens": tokens["sample"]},
        "small_sample": {**small.record(), "tokens": tokens["small"]},
        "rows": [
            {"name": r.name, "reason": r.reason, "checked": r.checked, "differs": r.differs}
            for r in lineup.rows
        ],
        "rounds": main.record(),
        "small_rounds": few.record(),
        "utilization": {"gflop": flops / 1e9, "rounds": utilization.record()},
        "padding": {"tokens": real, "encoded": reached},
        "epoch_seconds": epochs,
    }
    finish("speed", "Speed", full, lines, values, findings, options.output)
    return not differing


def _time(
    rows: dict[str, Row],
    sample: Sample,
    rounds: int,
    probe: GemmProbe,
    title: str,
    warm_up: Iterable[str],
) -> Rounds:
    tasks: dict[str, Callable[[], object]] = {}
    for name, row in rows.items():
        if row.timed and row.system is not None:
            tasks[name] = partial(row.system.classify, sample.texts)
    # Once before the rounds: what is built for these lengths is not in any time.
    for name in warm_up:
        if name in tasks:
            say(f"{title} warm-up of {name}")
            tasks[name]()
    return run_rounds(tasks, rounds, probe, title)


def _utilization(
    lineup: Lineup, shape: Shape, rounds: int, probe: GemmProbe
) -> tuple[Rounds, float]:
    """Full segments through our encoder, and the floating-point operations of one such pass."""
    tasks: dict[str, Callable[[], object]] = {}
    flops = 0.0
    for name in (MEAN, COMPILED):
        row = lineup.main[name]
        if row.timed and isinstance(row.system, Ours):
            tokens, task = row.system.encode_full_segments(_FULL_SEGMENTS)
            length = tokens // _FULL_SEGMENTS
            flops = float(tokens * shape.flops_per_token(length))
            task()
            tasks[name] = task
    return run_rounds(tasks, rounds, probe, "utilization:"), flops


def _utilization_finding(rounds: Rounds, flops: float) -> Finding:
    shares = {
        name: [flops / r.seconds[name] / 1e9 / r.probes[name] for r in rounds.rounds]
        for name in rounds.rounds[0].seconds
    }
    note = f"{_FULL_SEGMENTS} full segments"
    if COMPILED in shares:
        note += f"; compiled {Spread.of(shares[COMPILED]).show()}"
    return Finding("utilization", shares.get(MEAN, []), rounds.probes(), note)


def _ratio_findings(lineup: Lineup, main: Rounds, few: Rounds) -> list[Finding]:
    """Targets that are ratios of two rows of the same rounds."""
    pairs = (
        ("belt_cls", BELT, CLS, main),
        ("belt_mean", BELT, MEAN, main),
        ("naive", NAIVE, MEAN, main),
        ("sentence_transformers", ENCODE, MEAN, main),
        ("sentence_transformers_tuned", TUNED_ENCODE, MEAN, main),
        ("int8", MEAN, INT8, main),
        ("openvino", MEAN, OPENVINO, main),
        ("openvino_int8", MEAN, OPENVINO_INT8, main),
    )
    found = []
    for key, slow, fast, rounds in pairs:
        rows = {**lineup.small, **lineup.main}
        missing = [rows[name] for name in (slow, fast) if not rows[name].timed]
        if missing:
            why = missing[0].reason or f"outputs differ ({missing[0].checked})"
            found.append(Finding(key, [], note=f"{missing[0].name}: {why}"))
        else:
            values = ratios(rounds.seconds(slow), rounds.seconds(fast))
            note = rows[fast].checked if "int8" in key else ""
            found.append(Finding(key, values, rounds.probes(), note))
    return found


def _epochs(
    options: argparse.Namespace, corpora: dict[str, Any], characters: int, probe: GemmProbe
) -> tuple[list[float], str, list[float]]:
    """Seconds of the epochs with a frozen encoder, a note, and the probes around the run."""
    sample = draw(corpora, characters, options.seed)
    say(f"cached epochs: train.py on {len(sample.documents)} documents")
    probes = [probe() for _ in range(3)]
    try:
        seconds = measure_epochs(options.encoder, sample, options.seed)
    except CachedEpochFailed as error:
        say(str(error))
        return [], str(error), probes
    probes += [probe() for _ in range(3)]
    note = f"{len(sample.documents)} documents; epochs took " + ", ".join(
        f"{second:.2f} s" for second in seconds
    )
    return seconds, note, probes


def _rows_table(
    lineup: Lineup, rows: dict[str, Row], rounds: Rounds, tokens: int, bases: tuple[str, ...]
) -> list[str]:
    header = [
        "system",
        "tokens/s",
        *(f"time / {base}" for base in bases),
        "outputs",
        "what it does",
    ]
    body = []
    for name, row in rows.items():
        if not row.timed:
            why = "outputs differ: not timed" if row.differs else row.reason
            body.append([name, "-", *("-" for _ in bases), row.checked, why])
            continue
        seconds = rounds.seconds(name)
        cells = [
            Spread.of(ratios(seconds, rounds.seconds(base))).show() if rows[base].timed else "-"
            for base in bases
        ]
        note = row.system.note if row.system is not None else ""
        speed = Spread.of([tokens / second for second in seconds])
        body.append([name, speed.show(0), *cells, row.checked, note])
    return table(header, body)


def _tokens(tokenizer: Any, sample: Sample) -> int:
    """Tokens of the texts, without special tokens."""
    return sum(len(ids) for ids in tokenizer(sample.texts, add_special_tokens=False)["input_ids"])


def main(argv: list[str] | None = None) -> int:
    """The command: 0 when outputs agree, 1 when some differ, 2 for a mistake in the input."""
    options = build_parser().parse_args(argv)
    agreed = True

    def command(_: list[str]) -> None:
        nonlocal agreed
        agreed = measure(options)

    return run_command(command, []) or int(not agreed)


if __name__ == "__main__":
    sys.exit(main())
