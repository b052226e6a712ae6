"""Answers for new documents: the predictor, and the command that runs it over files."""
