"""Designs of a run: from the stage that designs sequences to the table that says which of them pass."""
