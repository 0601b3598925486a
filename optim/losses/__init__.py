"""Losses per customer, scores, targets."""
