"""Pages that open in any browser: one file each, nothing loaded, all text escaped."""
