"""Structures: files, confidence, superposition, relaxation, scores."""
