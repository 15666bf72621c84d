"""From checked targets to batches and chunks: pure functions, and the files they become."""
