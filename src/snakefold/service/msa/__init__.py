"""An MSA server: ColabFold's HTTP API in front of this package's own searches and store."""
