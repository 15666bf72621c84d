"""What finished runs took, and the cost model fitted to it."""
