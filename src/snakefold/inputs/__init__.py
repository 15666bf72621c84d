"""Readers of what a user may hand in; `snakefold.targets` is their public face."""
