"""Targets to batches and GPU classes: one integer program over lengths."""
