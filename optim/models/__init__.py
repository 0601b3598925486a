"""Flax NNX modules: cake, property models, utilities, links."""
