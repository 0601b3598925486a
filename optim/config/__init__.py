"""Typed configs: schema, loading, overrides, errors that point at a line. Imports no JAX."""
