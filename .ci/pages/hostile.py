"""Write pages of hostile documents, labels and ids, and of usual ones, for `check.js` to look at.

python .ci/pages/hostile.py FOLDER
"""

import json
import shutil
import sys
from pathlib import Path

from hierbert import HierBert

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
fixture = Path(__file__).parents[2] / "tests" / "fixtures" / "first_format"
HOSTILE = (
    '</script><script>alert(1)</script> "\' onmouseover=alert(1) x="<img src=x onerror=alert(1)>'
)
PROSE = "The court heard the case. The contract was signed by both parties. The plot was awful. "
TEXTS = {
    "usual": PROSE * 20,
    HOSTILE: f"{HOSTILE}. {PROSE * 4}",
    "controls": "A \0 NUL, \x1b[31m an escape, \ud800 half a pair, \uffff.\r\nA film.\rA law. "
    + PROSE,
    "right to left": "\u202eThe court heard it. שלום עולם. هذا نص طويل. The film was good. " * 9,
    "no line end": "court " * 9_000,
    "empty": "",
    "/../" + "x" * 300: PROSE,
}

model_folder = folder / "model"
shutil.copytree(fixture, model_folder)
config = json.loads((model_folder / "config.json").read_text())
config["id2label"] = {"0": HOSTILE, "1": "law \u202e"}
config["label2id"] = {name: int(number) for number, name in config["id2label"].items()}
(model_folder / "config.json").write_text(json.dumps(config))

documents = folder / "documents.jsonl"
rows = [{"id": one, "text": text, "<b>": HOSTILE} for one, text in TEXTS.items()]
documents.write_text("".join(json.dumps(row) + "\n" for row in rows))

if __name__ == "__main__":
    from hierbert.cli.infer import main

    job = ["--model", str(model_folder), "--input", str(documents), "--evidence-labels", HOSTILE]
    job += ["--keep-columns", "<b>", "--output", str(folder / "answers.jsonl")]
    code = main([*job, "--html", str(folder / "pages")])
    model = HierBert.from_pretrained(model_folder, device="cpu")
    page = model.page(TEXTS["usual"], rule={"evidence": [HOSTILE, "law \u202e"]}, title=HOSTILE)
    (folder / "pages" / "python.html").write_text(page, encoding="utf-8")
    sys.exit(code)
