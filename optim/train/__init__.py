"""State, step, chunked loop, checkpoints, resume."""
