"""Learn what customers like, then train the recipe itself by gradients.

This module imports nothing, so that `optim --help` and the rejection of a wrong config stay instant.
"""
