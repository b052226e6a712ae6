"""Hold a quick start's results against what the README promises of it."""

import json
import sys
from pathlib import Path

PROMISED_GAIN = 0.02

run = Path(sys.argv[1])
results = json.loads((run / "results.json").read_text(encoding="utf-8"))
gain = results["summaries"]["gain"]["LexRank"]["mean"]
gained = results["scores"]["accuracy"] - results["majority"]["accuracy"]
print(f"over LexRank: {100 * gain:+.1f} ROUGE-1; over the majority class: {100 * gained:+.1f}")
if gain < PROMISED_GAIN or gained <= 0:
    raise SystemExit(f"the quick start promises at least {100 * PROMISED_GAIN:+.1f} ROUGE-1")
