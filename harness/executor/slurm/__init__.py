"""The executor `slurm`: a job of Slurm for each run, which drives it on a node."""

from harness.executor.slurm.executor import SlurmExecutor

__all__ = ["SlurmExecutor"]
