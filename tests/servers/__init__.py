"""Real servers that tests run on this machine, for themselves and on loopback only."""
