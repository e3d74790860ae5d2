"""The backend `kubernetes`: a pod for each sandbox, on any cluster that a kubeconfig or a service account leads to."""

from harness.sandbox.kubernetes.backend import NAME, KubernetesBackend

__all__ = ["NAME", "KubernetesBackend"]
