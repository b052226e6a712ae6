"""What it ran on, and how fast."""

from hierbert.reporting.blocks import Section, Table
from hierbert.reporting.found import Found

_FACTS = {
    "device": "Device",
    "processes": "Processes",
    "threads": "Threads",
    "encoding_tokens_per_second": "Encoded tokens a second, of a frozen encoder",
    "training_tokens_per_second": "Trained tokens a second",
    "scoring_tokens_per_second": "Scored tokens a second",
    "training_seconds": "Seconds of training",
    "peak_memory_mib": "Most memory, MiB",
    "peak_device_memory_mib": "Most device memory, MiB",
}


def machine(found: Found) -> Section:
    """Resources, and versions that figures depend on."""
    resources = found.results.get("resources") or {}
    rows = []
    for name, title in _FACTS.items():
        if value := resources.get(name):
            rows.append([title, f"{value:,}" if isinstance(value, int | float) else str(value)])
    for name, version in (found.results.get("environment") or {}).items():
        rows.append([f"Version of {name}", str(version)])
    return Section("Machine", [Table(["What", "value"], rows)] if rows else [])
