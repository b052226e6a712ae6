"""What a job that goes on takes up: finished parts that are whole, and all readable rows of logs.

Invariant: it can be killed itself at any moment and begun again; rows of another job, model or
setting are never taken up.
"""

import json
from pathlib import Path
from typing import Any

from hierbert.errors import RunError, flag_setting
from hierbert.files import write_whole
from hierbert.log import log
from hierbert.prediction.manifest import Manifest
from hierbert.prediction.records import gather_records
from hierbert.prediction.target import Target

# Of what answers depend on, what no flag says.
_NOT_FLAGS = {
    "revision": "the model's commit on the Hub",
    "summary": "the rule of summaries",
    "hierbert": "hierbert's version",
}


def refuse_other_job(before: Manifest, now: Manifest) -> None:
    """Refuse to go on with a job of another model or other settings.

    Raises:
        RunError: It is one; the message says what differs.
    """
    settings = json.loads(json.dumps(now.settings))
    refuse_other_settings(
        {**before.settings, "model": before.model}, {**settings, "model": now.model}
    )


def refuse_other_settings(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with a job of other settings, "model" being the model's fingerprint.

    Raises:
        RunError: They differ; the message says how.
    """
    changed = [
        "--model is another model"
        if name == "model"
        else f"{_NOT_FLAGS.get(name) or flag_setting(name)} was {before.get(name)!r} and is "
        f"{now.get(name)!r}"
        for name in {**before, **now}
        if now.get(name) != before.get(name)
    ]
    if changed:
        raise RunError(
            f"--resume: the job has changed: {'; '.join(changed)}; --overwrite starts anew"
        )


def take_up(target: Target, manifest: Manifest) -> int:
    """Put all that is readable of the logs of each part into one, whoever wrote them.

    Args:
        target: The output; no process is at work in it.
        manifest: Of the job; parts whose files are not what was written are taken out of it.

    Returns:
        How many rows are done.

    Raises:
        OSError: Something cannot be read or written.
    """
    target.unfinished.mkdir(exist_ok=True)
    for number, part in list(manifest.parts.items()):
        file = target.folder / (part.file or ".")
        whole = not part.file or (file.is_file() and file.stat().st_size == part.bytes)
        if not whole or (part.errors and not target.aside(number, "errors").is_file()):
            log.info(f"part {number} is not what the job wrote: its rows are answered again")
            del manifest.parts[number]
    target.remove_torn()
    rows = 0
    for number, paths in _logs(target, manifest).items():
        if number not in manifest.parts:
            rows += _gather(paths, target.kept_path(number))
        for path in paths:
            if number in manifest.parts or path != target.kept_path(number):
                path.unlink()
    rows += manifest.total("rows")
    log.info(f"resuming after {rows:,} rows")
    return rows


def _logs(target: Target, manifest: Manifest) -> dict[int, list[Path]]:
    """The job's own logs of each part.

    A worker that outlived its job may write when another has taken its place.
    """
    logs: dict[int, list[Path]] = {}
    for path in sorted(target.unfinished.glob("[0-9]*.*")):
        names = path.name.split(".")
        # NUMBER.kept, NUMBER.PROCESS.SESSION.log or .rows
        if names[-1] == "kept" or names[-2] in manifest.sessions:
            logs.setdefault(int(names[0]), []).append(path)
        else:
            path.unlink()
    return logs


def _gather(paths: list[Path], output: Path) -> int:
    counts = []

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            counts.append(gather_records(paths, file))

    write_whole(output, write)
    return counts[0]
