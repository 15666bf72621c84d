"""Where jobs run besides this machine, and what stands in for such a place."""
