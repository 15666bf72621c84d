"""Endpoints on RunPod from a file that says what they should be: profiles/runpod/endpoints.yaml."""
