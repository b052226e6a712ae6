"""Changes random bytes of checkpoints and of the cache, trains on, and compares the ends.

    python benchmarks/flips_training.py              60 bytes each, some minutes
    python benchmarks/flips_training.py --flips 3

A target is made once: a run that was stopped, or a cache that a run has filled. It is copied, one
byte of the copy is changed, and training goes on with it. Then the run ends in the same bits as one
with nothing changed (weights, metrics, results), or is refused in one line. It needs no data and no
pretrained weights. Ends with exit code 1 when something differs, or in a traceback.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.report import RESULTS, finish, table
from benchmarks.common.rounds import say
from benchmarks.common.tiny import make_documents, make_encoder

FULL_FLIPS = 60
# What is damaged of the folder of a target: the files of one glob, each as often as the others.
TARGETS = {
    "checkpoints": "run/checkpoints/**/*",
    "sentence labels": "cache/sentence-labels-*",
    "vectors": "cache/vectors-*/*",
}
_OUTCOMES = ("equal", "refused", "DIFFERENT", "TRACEBACK")
_STOPPED_AT_STEP = 3
_CLOCK = ("seconds", "resources", "environment")
_SETTINGS = (
    *("data.label_column=label", "data.summary_column=summary", "model.aggregator_layers=1"),
    *("segmentation.max_tokens_per_segment=64", "training.documents_per_batch=4"),
    *("training.epochs=1", "training.head_learning_rate=5e-3", "training.eval_every_steps=2"),
    *("training.checkpoint_every_steps=1", "baselines=false", "show_sample=false"),
)


def _train(*arguments: str) -> tuple[int, str]:
    """The training command in this process: its exit code, 1 with a traceback, and its words."""
    from accelerate.state import AcceleratorState

    from hierbert.cli.train import main

    AcceleratorState._reset_state(True)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            return main(list(arguments)), said.getvalue()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1, said.getvalue()
        except Exception:
            return 1, said.getvalue() + traceback.format_exc()


def _arguments(place: Path, name: str) -> list[str]:
    frozen = str(name != "checkpoints").lower()
    return [
        *(f"data.train={place.parent / 'train.jsonl'}", f"run_dir={place / 'run'}"),
        *(f"data.validation={place.parent / 'validation.jsonl'}", *_SETTINGS),
        *(f"model.encoder={place.parent / 'encoder'}", f"training.cache_dir={place / 'cache'}"),
        f"training.freeze_encoder={frozen}",
    ]


def _make(place: Path, name: str, seed: int) -> None:
    """Documents, an encoder, and in the place the work that is to go on."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    make_encoder(place.parent / "encoder", seed)
    for part, count in (("train", 16), ("validation", 4)):
        path = make_documents(place.parent / f"{part}.jsonl", count, seed, 4)
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            row["summary"] = row["text"].partition(".")[0] + "."
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    steps = 0

    def stop(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == _STOPPED_AT_STEP and name == "checkpoints":
            signal.raise_signal(signal.SIGTERM)

    hook = register_optimizer_step_post_hook(stop)
    try:
        code, said = _train(*_arguments(place, name))
    finally:
        hook.remove()
    if code != (143 if name == "checkpoints" else 0):
        raise RuntimeError(f"{name}: training ended with {code}: {said[-2000:]}")
    if name != "checkpoints":
        shutil.rmtree(place / "run")


def _go_on(place: Path, name: str) -> tuple[int, str]:
    if name == "checkpoints":
        return _train("--config", str(place / "run" / "config.resolved.yaml"), "--resume")
    return _train(*_arguments(place, name))


def _outcome(place: Path) -> Any:
    """What no damage may change."""
    run = place / "run"
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    for clock in _CLOCK:
        results.pop(clock)
    return results, *(
        (run / name).read_bytes() for name in ("metrics.jsonl", "model/model.safetensors")
    )


def damage(name: str, flips: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Damage a target so often: how often each outcome came, and what was bad."""
    chance = random.Random(f"{name} {seed}")
    # Where work is may be part of it: it is always at the same place.
    begun, place = folder / "begun", folder / "place"
    place.mkdir()
    _make(place, name, seed)
    place.rename(begun)
    counts: Counter[str] = Counter()
    bad: list[str] = []
    expected = None
    for number in range(flips + 1):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(begun, place)
        where = "nothing"
        if number:
            found = [path for path in place.glob(TARGETS[name]) if path.is_file()]
            path = chance.choice(sorted(path for path in found if path.stat().st_size))
            content = bytearray(path.read_bytes())
            at = chance.randrange(len(content))
            content[at] ^= chance.randrange(1, 256)
            path.write_bytes(content)
            where = f"{path.relative_to(place)}, byte {at:,}"
        code, said = _go_on(place, name)
        if code not in (0, 2) or "Traceback" in said:
            outcome = "TRACEBACK"
        elif code == 2:
            outcome = "refused"
        else:
            found_here = _outcome(place)
            expected = expected or found_here
            outcome = "equal" if found_here == expected else "DIFFERENT"
        if not number:
            if outcome != "equal":
                raise RuntimeError(f"{name} cannot go on: {said[-2000:]}")
            continue
        counts[outcome] += 1
        if outcome in _OUTCOMES[2:]:
            bad.append(f"{name}: {where}: {outcome}: {said[-500:]}")
        say(f"{name}: {number} of {flips}: {where}: {outcome}")
    return counts, bad


def main(argv: list[str] | None = None) -> int:
    """The command: 0 when nothing differed in silence, 1 otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flips", type=int, default=FULL_FLIPS, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args(argv)
    if options.flips < 1:
        print(f"error: --flips {options.flips}: a whole number from 1 up", file=sys.stderr)
        return 2
    os.environ["ACCELERATE_USE_CPU"] = "true"
    rows, record, bad = [], {}, []
    for name in TARGETS:
        with tempfile.TemporaryDirectory() as scratch:
            counts, found = damage(name, options.flips, options.seed, Path(scratch))
        rows.append([name, *(str(counts[outcome]) for outcome in _OUTCOMES)])
        record[name] = dict(counts)
        bad += found
    full = options.flips >= FULL_FLIPS
    good = "Nothing differed in silence." if not bad else "**Something differed.**"
    lines = [*table(["damaged", *_OUTCOMES], rows), "", *bad, good]
    output = options.output or RESULTS / f"flips_training{'' if full else '-quick'}.json"
    values = {"seed": options.seed, "flips": options.flips, "good": not bad, "damaged": record}
    finish("flips_training", "Bytes that changed in training", full, lines, values, output=output)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
