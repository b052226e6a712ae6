"""Training: the Accelerate loop, optimizer groups, cached vectors, checkpoints, the run folder."""
