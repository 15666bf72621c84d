"""The report: one page for a run, opened by a double click."""
