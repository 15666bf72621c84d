"""Boltz-2."""
