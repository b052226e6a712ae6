"""Answer every text file of a folder, as JSON lines; texts are read as they are needed.

    python examples/predict_folder.py MODEL FOLDER > answers.jsonl

For jobs that must survive a kill, run on several GPUs or end in parquet: ``hierbert infer``.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from hierbert import HierBert

model = HierBert.from_pretrained(sys.argv[1])
paths = sorted(Path(sys.argv[2]).glob("*.txt"))
texts = (path.read_text(encoding="utf-8") for path in paths)
for path, answer in zip(paths, model.predict(texts), strict=True):
    told = {name: value for name, value in asdict(answer).items() if value is not None}
    print(json.dumps({"file": path.name, **told}, ensure_ascii=False))
