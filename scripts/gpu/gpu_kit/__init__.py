"""The kit for a GPU machine without a network: what it lacks is packed here, tried and measured there (docs/gpu.md)."""
