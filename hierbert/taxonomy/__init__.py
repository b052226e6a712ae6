"""Trees of labels and of what they name: nodes with parents, read from files."""
