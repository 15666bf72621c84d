"""Batch protein folding with AlphaFold2 as a Snakemake workflow."""

__version__ = "0.1.0"
