"""What the benchmarks share: the sample, the machine, rounds, verdicts, cells, tables, the plot."""
