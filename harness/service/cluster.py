"""The installation in a Kubernetes cluster. Nothing of it needs a results directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.sandbox.base import Check
from harness.spec.progress import Progress

if TYPE_CHECKING:
    from harness.cluster.install import Step


class Cluster:
    """What an operator does with a cluster."""

    def install_cluster(
        self,
        overlay: str = "single-node",
        settings: Sequence[str] = (),
        database: str | None = None,
        with_postgres: bool = False,
        dry: bool = False,
        progress: Progress | None = None,
    ) -> list[Step]:
        """Put an overlay of `k8s/` into the cluster that KUBECONFIG names, and wait until it is ready.

        Args:
            overlay: which.
            settings: each NAME=VALUE.
            database: address of a PostgreSQL database as pods reach it.
            with_postgres: bring one along.
            dry: say what would be done.
            progress: told an object a line.

        Returns:
            What became of each object.

        Raises:
            UsageError, NotFoundError: an overlay or a setting that there is not.
            MissingError: no cluster is configured, no database is named, or the cluster lacks something.
            SandboxError, SandboxUnavailable: the cluster refuses, or does not answer.
        """
        from harness.cluster.choices import parse
        from harness.cluster.install import Plan, install

        return install(Plan(overlay, parse(settings), database, with_postgres), progress or (lambda text: None), dry=dry)

    def check_cluster(self) -> list[Check]:
        """Look at the installation, and try from a pod what runners need."""
        from harness.cluster.check import check

        return check()

    def uninstall_cluster(self, data: bool = False, end_runs: bool = False, progress: Progress | None = None) -> list[Step]:
        """Remove what was installed; keep namespaces, volumes and Secrets unless ``data``.

        Raises:
            MissingError: runs are open and ``end_runs`` is not said.
            SandboxError, SandboxUnavailable: the cluster refuses, or does not answer.
        """
        from harness.cluster.uninstall import uninstall

        return uninstall(progress or (lambda text: None), data=data, end_runs=end_runs)
