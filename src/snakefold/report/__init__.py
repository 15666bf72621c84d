"""The report: one page for a run, opened by a double click."""

from snakefold.report.page import build

__all__ = ["build"]
