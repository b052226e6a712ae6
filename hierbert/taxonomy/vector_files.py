"""Vectors of a tree as Parquet files: a row for each node, its id and its point."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from hierbert.errors import DataError, error_text
from hierbert.files import write_whole
from hierbert.taxonomy.embedding import TreeVectors

_KEY = b"hierbert"


def write_tree_vectors(path: Path, vectors: TreeVectors, facts: dict[str, Any]) -> None:
    """Write columns `id` (text) and `vector` (a list of float64).

    Args:
        path: Of the file, which is replaced.
        vectors: What is written.
        facts: What else is known of them; JSON, kept in the file's metadata.
    """
    import pyarrow as pa
    from pyarrow import parquet

    points = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.points.ravel()), vectors.points.shape[1]
    )
    about = {"geometry": "plane" if vectors.euclidean else "ball", **facts}
    table = pa.table({"id": list(vectors.nodes), "vector": points})
    table = table.replace_schema_metadata({_KEY: json.dumps(about)})
    write_whole(path, lambda aside: parquet.write_table(table, aside))


def read_tree_vectors(path: str | Path) -> TreeVectors:
    """Read what `hierbert taxonomy embed` has written.

    Raises:
        DataError: It cannot be read, or holds something else.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        about = json.loads((table.schema.metadata or {})[_KEY])
        points = np.array(table["vector"].to_pylist(), dtype=np.float64)
        nodes = tuple(map(str, table["id"].to_pylist()))
        if points.ndim != 2 or not np.isfinite(points).all():
            raise ValueError("vectors of several lengths, or not finite")
        return TreeVectors(nodes, points, about["geometry"] == "plane")
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"holds no vectors of a tree: {error_text(error)}", place=str(path)
        ) from error
