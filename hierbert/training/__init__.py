"""Training: the Accelerate loop, optimizer groups, checkpoints, the run folder."""
