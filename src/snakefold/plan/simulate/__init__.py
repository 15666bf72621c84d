"""A run played through in simulated time, before anything is paid for."""
