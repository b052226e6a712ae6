"""Refuse a quick start that has become worse than noise explains; docs/quickstart.md has them."""

import json
import sys
from pathlib import Path

# Below what any seed gave, so that another machine's rounding does not fail it.
LEAST_GAIN = 0.01
LEAST_ACCURACY_GAIN = 0.3

run = Path(sys.argv[1])
results = json.loads((run / "results.json").read_text(encoding="utf-8"))
gain = results["summaries"]["gain"]["LexRank"]["mean"]
gained = results["scores"]["accuracy"] - results["majority"]["accuracy"]
print(f"over LexRank: {100 * gain:+.1f} ROUGE-1; over the majority class: {100 * gained:+.1f}")
if gain < LEAST_GAIN or gained < LEAST_ACCURACY_GAIN:
    raise SystemExit(
        f"expected at least {100 * LEAST_GAIN:+.1f} ROUGE-1 and "
        f"{100 * LEAST_ACCURACY_GAIN:+.1f} accuracy"
    )
