"""Alignments and templates from an MSA server: the HTTP API of ColabFold's, which MMseqs2-App serves."""
