"""Readers of what a user may hand in; `snakefold.molecules.targets` is their public face."""
