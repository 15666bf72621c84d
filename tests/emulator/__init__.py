"""What tests against the emulated RunPod service share."""
