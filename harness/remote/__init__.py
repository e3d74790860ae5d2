"""`dojo --server URL`: a double of the façade that asks a service."""
