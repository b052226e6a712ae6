"""A folder of parts: each is there whole or not at all, and is done once a marker says so.

Parts are written aside in `.unfinished`, synced and renamed; then a marker with what the part holds
is written in the same way. Which parts are done is what markers say, not what a process remembers,
so a killed job goes on without losing or doubling a row, and a part that is written twice is the
same file. Invariant: only files of these names are made, replaced or removed; ids never become
paths.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hierbert.errors import RunError, error_text
from hierbert.files import sync_folder, write_json, write_text
from hierbert.prediction.manifest import NAME as MANIFEST
from hierbert.prediction.manifest import UNREADABLE
from hierbert.prediction.on_ray.plan import Plan
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.outputs import encode_line, write_rows

_FORMAT = "ray 1"


@dataclass(frozen=True)
class DonePart:
    """What a finished part holds.

    Attributes:
        file: Its name; None when it has no rows.
        rows: Rows of the input.
        answers: Documents that were answered.
        bytes: Of the file.
        characters: Of its documents.
        shortened: Documents that `max_segments` took something from.
        omitted_segments: How many segments it took.
        errors: Rows of errors.jsonl.
    """

    file: str | None
    rows: int
    answers: int
    bytes: int
    characters: int
    shortened: int = 0
    omitted_segments: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class PartFolder(OutputFolder):
    """The output of a job.

    Attributes:
        path: The folder, on storage that all machines share.
        kind: "jsonl", "csv" or "parquet".
        digits: Of the numbers in the parts' names.
    """

    digits: int = 5
    format = _FORMAT

    def _is_complete(self) -> bool:
        return bool(self.read_manifest()["complete"])

    def read_manifest(self) -> dict[str, Any]:
        """What the job is.

        Raises:
            RunError: It cannot be read, or is of another kind of job.
        """
        path = self.path / MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != _FORMAT or not isinstance(values["settings"], dict):
                raise ValueError(f"it is not of the format {_FORMAT!r}")
            values["complete"] = bool(values["complete"])
        except (*UNREADABLE, KeyError, TypeError) as error:
            raise RunError(
                f"{path} cannot be read: {error_text(error)}; --overwrite starts anew"
            ) from error
        return dict(values)

    def start(self, settings: dict[str, Any], plan: Plan) -> None:
        """Make the folder ready for a new job; parts of another are removed.

        Args:
            settings: All that answers depend on.
            plan: The input.

        Raises:
            RunError: It cannot be written.
        """
        with self.writing():
            self.make_empty()
            sync_folder(self.path)
            # In this order, so that a job killed in here is never taken for one to go on with.
            write_json(self.unfinished / "plan.json", plan.to_json())
            self._write_manifest(settings, plan, complete=False)

    def go_on(self) -> Plan:
        """The plan of the job to go on with; what was left unfinished is removed.

        Raises:
            RunError: It cannot be read.
        """
        path = self.unfinished / "plan.json"
        try:
            plan = Plan.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (*UNREADABLE, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"--resume: {path} cannot be read: {error_text(error)}; --overwrite starts anew"
            ) from error
        with self.writing():
            self.remove_torn()
        return plan

    def done(self) -> dict[int, DonePart]:
        """The parts that are done, by their numbers.

        A part whose marker is broken, or whose file is missing or of another size, is not done.
        """
        found = {}
        for path in self.unfinished.glob("done-*.json"):
            with contextlib.suppress(*UNREADABLE, TypeError):
                part = DonePart(**json.loads(path.read_text(encoding="utf-8")))
                if part.file is None or (self.path / part.file).stat().st_size == part.bytes:
                    found[int(path.stem.removeprefix("done-"))] = part
        return found

    def write(
        self,
        number: int,
        rows: Iterable[dict[str, Any]],
        errors: list[dict[str, Any]],
        characters: int,
    ) -> DonePart:
        """Write a part, then its marker.

        Args:
            number: The part's.
            rows: Answers; consumed before anything gets its name.
            errors: Rows of errors.jsonl; may be filled while `rows` is consumed.
            characters: Of the part's documents.

        Returns:
            What the part holds.

        Raises:
            OSError: It cannot be written.
        """
        handle, name = tempfile.mkstemp(prefix=f"new-{number}-", dir=self.unfinished)
        aside = Path(name)
        count = shortened = omitted = 0
        try:
            with open(handle, "w", encoding="utf-8", newline="\n") as file:
                for row in rows:
                    file.write(encode_line(row))
                    count += 1
                    if omission := row.get("omission"):
                        shortened += 1
                        omitted += omission["segments"]
            target = None
            if count:
                target = self.path / f"part-{number:0{self.digits}d}.{self.kind}"
                write_rows([aside], target, self.kind)
        finally:
            aside.unlink(missing_ok=True)
        part = DonePart(
            target.name if target else None,
            count + len(errors),
            count,
            target.stat().st_size if target else 0,
            characters,
            shortened,
            omitted,
            errors,
        )
        write_json(self.unfinished / f"done-{number}.json", vars(part))
        return part

    def finish(self, settings: dict[str, Any], plan: Plan) -> dict[str, Any]:
        """Say in the manifest that all is there, with the errors beside it.

        Args:
            settings: Those of `start`.
            plan: The input; every part of it is done.

        Returns:
            The manifest.

        Raises:
            RunError: A part is missing, or it cannot be written.
        """
        done = self.done()
        if missing := [number for number in range(plan.parts) if number not in done]:
            raise RunError(
                f"{self.path} lacks {len(missing)} of {plan.parts} parts, such as part "
                f"{missing[0]}; --resume makes them"
            )
        with self.writing():
            ordered = [done[number] for number in range(plan.parts)]
            if any(part.errors for part in ordered):
                lines = (encode_line(error) for part in ordered for error in part.errors)
                write_text(self.errors, "".join(lines))
            values = self._write_manifest(settings, plan, complete=True, parts=ordered)
            shutil.rmtree(self.unfinished, ignore_errors=True)
        return values

    def _write_manifest(
        self,
        settings: dict[str, Any],
        plan: Plan,
        complete: bool,
        parts: list[DonePart] | None = None,
    ) -> dict[str, Any]:
        parts = parts or []
        values: dict[str, Any] = {
            "format": _FORMAT,
            "complete": complete,
            "rows_done": sum(part.rows for part in parts),
            "answers": sum(part.answers for part in parts),
            "errors": sum(len(part.errors) for part in parts),
            "shortened": sum(part.shortened for part in parts),
            "omitted_segments": sum(part.omitted_segments for part in parts),
            "settings": settings,
            "sources": [vars(source) for source in plan.sources],
            "parts": [
                {**vars(part), "part": number, "errors": len(part.errors)}
                for number, part in enumerate(parts)
            ],
        }
        write_json(self.path / MANIFEST, values)
        return values
