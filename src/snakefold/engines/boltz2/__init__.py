"""Engine `boltz2`."""
