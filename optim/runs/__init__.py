"""What is kept: run directory, lock, info, checkpoints, curves, session, resume."""
