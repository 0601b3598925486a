"""Derivatives checked against finite differences, in both modes and to second order."""
