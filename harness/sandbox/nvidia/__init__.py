"""NVIDIA GPUs of this host: which may be used, what a sandbox is shown of them, what `nvidia-smi` says of them."""
