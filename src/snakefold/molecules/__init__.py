"""Molecules as people describe them: entities, assemblies, and readers of what other programs take."""
