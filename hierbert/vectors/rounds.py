"""In which company a run encodes its documents, so that it can be had again, to the last bit.

The vectors of a document depend, by rounding, on what is encoded with it. So a run keeps
the lists of documents that it set out to encode; a resumed one, or one whose cache was removed,
makes up what is missing in the same batches. Documents that were in the cache before, from other
runs, are not in the lists.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from hierbert.errors import error_text
from hierbert.files import write_text


def encoding_rounds(
    path: Path | None, wanted: Sequence[bytes], gaps: Collection[bytes], accelerator: Accelerator
) -> tuple[list[list[bytes]], str | None]:
    """The lists of documents to encode one after the other, each in batches of its own.

    Args:
        path: Where the run keeps its lists; None keeps none. Missing or damaged, it holds none.
        wanted: Keys of all documents, in order.
        gaps: Keys of those that are not in the cache.
        accelerator: The run's; the first process reads and writes.

    Returns:
        Lists with a gap in them, gaps and others together: the others are there so that batches
        can be made as they were; and why the new list could not be written, None where it was.
    """
    known: list[list[bytes]] = []
    problem = None
    if path is not None and accelerator.is_main_process:
        known = _read(path)
    known = gather_object([known])[0]
    listed = {key for keys in known for key in keys}
    rest = [key for key in wanted if key in gaps and key not in listed]
    if rest:
        known = [*known, rest]
        if path is not None and accelerator.is_main_process:
            lines = [json.dumps([key.hex() for key in keys]) + "\n" for keys in known]
            text = "".join(lines)
            try:
                write_text(path, text)
            except OSError as error:
                why = error_text(error)
                problem = f"{path} cannot be written: {why}; mend that and go on with --resume"
    there = set(wanted)
    rounds = [[key for key in keys if key in there] for keys in known]
    return [keys for keys in rounds if any(key in gaps for key in keys)], problem


def _read(path: Path) -> list[list[bytes]]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return [[bytes.fromhex(key) for key in json.loads(line)] for line in lines]
    except (OSError, ValueError, TypeError):
        return []
