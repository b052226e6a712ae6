"""The systems that are compared, each in a file: text in, label out."""
