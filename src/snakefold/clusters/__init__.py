"""Where jobs run: what SLURM, Kubernetes and RunPod say of them."""
