"""Vectors of a segment encoder that does not change, computed once and kept on disk."""
