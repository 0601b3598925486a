"""Optax chains, projections, starts, certificates."""
