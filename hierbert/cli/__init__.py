"""The command lines: `hierbert train`, `hierbert infer`, `hierbert evaluate`, `hierbert push`."""
