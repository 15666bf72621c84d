"""Readers of other programs' input: each gives entities, whether an engine here takes them or not."""
