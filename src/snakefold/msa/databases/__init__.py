"""Databases on the user's disk: what there is to fetch, fetching it, and finding out whether it is sound."""
