"""The worker of a RunPod Serverless endpoint: requests in, results out, in a warm process of its own."""
