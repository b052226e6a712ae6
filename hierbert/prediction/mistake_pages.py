"""Pages of the documents that a model was surest of, and wrong: what spoke for its answers."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hierbert.errors import HierBertError, error_text
from hierbert.files import write_text
from hierbert.log import log
from hierbert.pages.page_folder import page_name
from hierbert.prediction.predictor import HierBert

PAGES = "pages"


def write_mistake_pages(folder: Path, predictor: HierBert, examples: Mapping[str, Any]) -> None:
    """Write a page of each mistake among the examples of a report, which then link to it.

    Pages go into `pages` in the folder of the run or the evaluation, and each row of the examples
    (see `hierbert.tasks.Task.report`) gets its page's place there as `page`. What cannot be written
    is said in one line, and the others of the report stand.
    """
    made: dict[str, Sequence[Any]] = {}
    try:
        for row in examples.get("mistakes") or []:
            digest = hashlib.sha256(repr(row["text"]).encode("utf-8", "surrogatepass")).hexdigest()
            name = f"{PAGES}/{page_name(row['id'], digest)}"
            # A document can be wrong about several labels.
            labels = dict.fromkeys([*made.get(name, ()), *row["labels"]])
            rule: dict[str, Any] = {"evidence": [*labels] or False}
            page = predictor.page(row["text"], ["classify"], rule, title=row["id"])
            write_text(folder / name, page)
            made[name], row["page"] = [*labels], name
    except (OSError, HierBertError) as error:
        log.warning(f"{folder / PAGES}: pages of mistakes are left out: {error_text(error)}")
