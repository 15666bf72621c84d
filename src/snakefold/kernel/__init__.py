"""What every floor above uses: contracts, recipes, archive, store, errors, notes, paths."""
