"""The command lines: `hierbert train`, `hierbert infer`, `hierbert push`."""
