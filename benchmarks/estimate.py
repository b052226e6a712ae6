"""What a corpus of any size costs: hours, money and room, by arithmetic from stated inputs.

    python benchmarks/estimate.py --documents 100_000_000 --tokens-per-document 5_000

Nothing is measured here. The speed of a core is that of the last run of `speed.py`, which this
script reads, or `--tokens-per-second-per-core`; that of segmentation is of `segmenting.py`; a GPU's
is its published peak times the part of it that is assumed to be reached, over the operations of a
token. Every input is an option, and every table says what it rests on.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "speed.json"
_SECONDS_PER_HOUR = 3600
_TB = 1e12


@dataclass(frozen=True)
class Encoder:
    """The sizes that an encoder's work follows from."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    mfu: float
    """The part of a GPU's peak that is assumed to be reached."""

    def flops_per_token(self, segment_tokens: int) -> float:
        """Multiplications and additions of a token, each counted: products of matrices alone.

        Query, key, value and output (4 h^2), the feed-forward layer (2 h f), and the two products
        of attention over the tokens of its segment (2 n h); two operations each.
        """
        h, f = self.hidden, self.intermediate
        return self.layers * 2 * (4 * h * h + 2 * h * f + 2 * segment_tokens * h)


@dataclass(frozen=True)
class Accelerator:
    """A GPU: its peak is from its data sheet (dense, bfloat16), its price is assumed."""

    name: str
    peak_flops: float
    dollars_per_hour: float


# Narrow layers leave more of a GPU idle: less work for each byte that is moved.
ENCODERS = (
    Encoder("all-MiniLM-L6-v2", 6, 384, 1536, 0.15),
    Encoder("BERT base", 12, 768, 3072, 0.35),
    Encoder("BERT large", 24, 1024, 4096, 0.40),
)
ACCELERATORS = (
    Accelerator("H100 SXM", 989e12, 3.00),
    Accelerator("A100", 312e12, 1.80),
    Accelerator("L4", 121e12, 0.70),
)


def core_speed(results: Path) -> tuple[float, str]:
    """Tokens a second that one core encoded in the last run of speed.py, and on what.

    Raises:
        SystemExit: There was none.
    """
    try:
        run = json.loads(results.read_text(encoding="utf-8"))
        seconds = [round_["seconds"]["ours, mean pooling"] for round_ in run["rounds"]]
        tokens, threads = run["sample"]["tokens"], run["machine"]["threads"]
        machine = f"{run['encoder']} in float32 on {run['machine']['cpu']}, {threads} threads"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"error: {results} cannot be read ({error}); run benchmarks/speed.py or give "
            "--tokens-per-second-per-core"
        ) from error
    return tokens / statistics.median(seconds) / threads, machine


def build_parser() -> argparse.ArgumentParser:
    """The inputs, each with its default."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--documents", type=int, default=100_000_000)
    add("--tokens-per-document", type=float, default=5_000)
    add("--tokens-per-segment", type=int, default=512)
    add("--tokens-per-sentence", type=float, default=30, help="for the room of sentence vectors")
    add("--characters-per-token", type=float, default=4.77, help="as segmenting.py measured")
    add("--times-gzipped", type=float, default=3.0, help="how much gzip shrinks text")
    add("--answer-bytes", type=float, default=2_000, help="of a row of jsonl, without vectors")
    add(
        "--tokens-per-second-per-core",
        type=float,
        help=f"that {ENCODERS[0].name} encodes; default: from results/speed.json",
    )
    add(
        "--segmentation-tokens-per-second",
        type=float,
        default=441_000,
        help="of one core, as segmenting.py measured",
    )
    add("--dollars-per-core-hour", type=float, default=0.05)
    add("--gpus", type=int, default=8, help="for the time on the clock")
    add("--cores", type=int, default=256, help="for the time on the clock")
    add("--mfu", type=float, help="of every encoder, instead of those assumed")
    add("--dollars-per-gpu-hour", type=float, help="of every GPU, instead of those assumed")
    add("--characters-per-unit", type=float, default=100_000, help="of a job on cores")
    add("--characters-per-unit-of-a-gpu", type=float, default=1_000_000)
    add("--losses-per-hour", type=float, default=0.05, help="of a core or a GPU, assumed")
    return parser


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; all columns but the first are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def number(value: float) -> str:
    """Three digits that count, with separators."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        digits = max(0, len(f"{abs(value):.0f}") - 3)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def compute_table(options: argparse.Namespace, tokens: float) -> list[str]:
    """Hours and money for each encoder on each kind of machine."""
    rows = []
    small = ENCODERS[0]
    speed = options.tokens_per_second_per_core
    if speed is None:
        speed, _ = core_speed(RESULTS)
    for encoder in ENCODERS:
        flops = encoder.flops_per_token(options.tokens_per_segment)
        # Cores were measured with the small encoder; the others take as much longer as they work.
        core = speed * small.flops_per_token(options.tokens_per_segment) / flops
        hours = tokens / core / _SECONDS_PER_HOUR
        rows.append(
            [
                f"{encoder.name}, CPU core",
                number(core),
                number(hours),
                "-",
                *times_and_money(options, hours, options.cores, options.dollars_per_core_hour),
            ]
        )
        for gpu in ACCELERATORS:
            mfu = encoder.mfu if options.mfu is None else options.mfu
            rate = gpu.peak_flops * mfu / flops
            hours = tokens / rate / _SECONDS_PER_HOUR
            price = options.dollars_per_gpu_hour or gpu.dollars_per_hour
            feeding = rate / options.segmentation_tokens_per_second
            rows.append(
                [
                    f"{encoder.name}, {gpu.name}",
                    number(rate),
                    number(hours),
                    number(feeding),
                    *times_and_money(options, hours, options.gpus, price),
                ]
            )
    header = ["encoder, machine", "tokens/s", "hours of it", "cores that segment"]
    header += [f"days on {options.gpus} GPUs or {options.cores} cores", "dollars"]
    return table([*header, "dollars for a million documents"], rows)


def times_and_money(
    options: argparse.Namespace, hours: float, workers: int, price: float
) -> list[str]:
    """Days on so many, dollars, and dollars for a million documents."""
    dollars = hours * price
    return [
        number(hours / workers / 24),
        number(dollars),
        number(dollars / options.documents * 1e6),
    ]


def storage_table(options: argparse.Namespace, tokens: float) -> list[str]:
    """Room on disk."""
    segments = max(options.documents, tokens / options.tokens_per_segment)
    sentences = tokens / options.tokens_per_sentence
    text = tokens * options.characters_per_token
    rows = [
        ["input, text of one byte a character", number(text / _TB)],
        ["input, gzipped", number(text / options.times_gzipped / _TB)],
        ["answers, jsonl", number(options.documents * options.answer_bytes / _TB)],
    ]
    for encoder in (ENCODERS[0], ENCODERS[1]):
        for what, count in (
            ("document vectors, float32", options.documents * 4),
            ("segment vectors, float16", segments * 2),
            ("sentence vectors, float16", sentences * 2),
        ):
            size = count * encoder.hidden / _TB
            rows.append([f"{what}, {encoder.name} ({encoder.hidden})", number(size)])
    return table(["what", "TB"], rows)


def failure_table(options: argparse.Namespace, tokens: float) -> list[str]:
    """What lost processes cost: at most the unit that each was at, half of one on average."""
    rows = []
    speed = options.tokens_per_second_per_core
    if speed is None:
        speed, _ = core_speed(RESULTS)
    base, gpu = ENCODERS[1], ACCELERATORS[0]
    flops = base.flops_per_token(options.tokens_per_segment)
    core = speed * ENCODERS[0].flops_per_token(options.tokens_per_segment) / flops
    mfu = base.mfu if options.mfu is None else options.mfu
    for machine, rate, characters in (
        ("CPU core", core, options.characters_per_unit),
        (gpu.name, gpu.peak_flops * mfu / flops, options.characters_per_unit_of_a_gpu),
    ):
        unit = min(characters / options.characters_per_token, tokens)
        hours = tokens / rate / _SECONDS_PER_HOUR
        losses = hours * options.losses_per_hour
        rows.append(
            [
                f"{base.name}, {machine}",
                number(tokens / unit),
                number(unit / rate),
                number(losses),
                number(losses * unit / 2 / rate / _SECONDS_PER_HOUR),
            ]
        )
    header = ["encoder, machine", "units", "seconds a unit", "processes lost", "hours done again"]
    return table(header, rows)


def report(options: argparse.Namespace) -> list[str]:
    """All tables, with what they rest on.

    Args:
        options: From `build_parser`.
    """
    tokens = options.documents * options.tokens_per_document
    if options.tokens_per_second_per_core is None:
        speed, machine = core_speed(RESULTS)
        measured = f"measured: {number(speed)} tokens/s, {machine} (benchmarks/results/speed.json)"
    else:
        measured = f"given: {number(options.tokens_per_second_per_core)} tokens/s"
    flops = ", ".join(
        f"{encoder.name} {encoder.flops_per_token(options.tokens_per_segment) / 1e6:,.0f}"
        for encoder in ENCODERS
    )
    mfus = ", ".join(
        f"{e.name} {e.mfu if options.mfu is None else options.mfu:g}" for e in ENCODERS
    )
    gpus = ", ".join(
        f"{g.name} {g.peak_flops / 1e12:,.0f} and "
        f"{options.dollars_per_gpu_hour or g.dollars_per_hour:.2f}"
        for g in ACCELERATORS
    )
    return [
        f"{number(options.documents)} documents of {number(options.tokens_per_document)} tokens: "
        f"{number(tokens)} tokens.",
        "",
        f"- A core, {measured}; other encoders by their operations. A core-hour is assumed at "
        f"{options.dollars_per_core_hour:.2f} dollars.",
        f"- Operations of a token (millions, segments of {options.tokens_per_segment}): {flops}.",
        f"- GPUs: published dense bfloat16 peak in TFLOP/s and assumed dollars an hour: {gpus}.",
        f"- The part of the peak that is reached is assumed: {mfus}.",
        f"- One core segments {number(options.segmentation_tokens_per_second)} tokens/s "
        "(benchmarks/segmenting.py); that many cores a GPU needs beside it.",
        "",
        *compute_table(options, tokens),
        "",
        *storage_table(options, tokens),
        "",
        *failure_table(options, tokens),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = build_parser()
    options = parser.parse_args(argv)
    for name, value in vars(options).items():
        if value is not None and not value > 0:
            parser.error(f"--{name.replace('_', '-')} {value} is not allowed: above 0")
    print("\n".join(report(options)))


if __name__ == "__main__":
    main()
