"""The executor `kubernetes`: a Job for each run, on the cluster that the backend `kubernetes` makes its pods in."""

from harness.executor.kubernetes.executor import KubernetesExecutor

__all__ = ["KubernetesExecutor"]
