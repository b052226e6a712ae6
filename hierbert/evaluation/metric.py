"""The base of hierbert's metrics: an `evaluate.Metric` that touches neither network nor disk.

``evaluate.load`` downloads a script and keeps rows in files under the home folder. A metric
here is a class of this package and keeps its rows in memory. It does not gather rows from several
processes: that is done before, by row index.

Invariant: scoring reads and writes no file, and leaves nothing behind.
"""

from typing import Any

import evaluate


class InMemoryMetric(evaluate.Metric):
    """An `evaluate.Metric` without cache files; subclasses give `_info` and `_compute`.

    Args:
        **settings: Settings of `evaluate.Metric`; rows stay in memory whatever is set.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "keep_in_memory": True})

    def _build_data_dir(self) -> str:
        # The base class makes a folder under the home folder here, which may be read-only.
        return ""
