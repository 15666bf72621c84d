"""Batch protein folding with AlphaFold2 as a Snakemake workflow."""

__version__ = "0.2.0"
