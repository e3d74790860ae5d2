"""dojo's own objects in a cluster: rendered from `k8s/`, put there, looked at, and taken away again."""
