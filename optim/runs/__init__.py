"""Run directory, lock, TensorBoard curves."""
