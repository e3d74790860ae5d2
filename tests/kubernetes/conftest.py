"""A cluster to try things on: `scripts/cluster.sh up`, then DOJO_TEST_KUBECONFIG."""

import os
from collections.abc import Iterator

import pytest

from harness.attack.ground import Ground
from harness.sandbox.contract import Stage
from harness.sandbox.kubernetes import KubernetesBackend, cluster


@pytest.fixture(scope="module")
def settings() -> Iterator[pytest.MonkeyPatch]:
    config = os.environ.get("DOJO_TEST_KUBECONFIG")
    if not config:
        pytest.skip("no cluster: scripts/cluster.sh up starts one, or says why not")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", config)
        patch.setenv("DOJO_IMAGE_TASK", "dojo/base:bookworm")
        patch.setenv("DOJO_K8S_CPU_SHARE", "0.05")  # ten sandboxes of two CPUs live side by side on a node that may be small
        cluster._core.cache_clear()
        yield patch
    cluster._core.cache_clear()


@pytest.fixture(scope="module")
def stage(settings: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(KubernetesBackend(), tmp_path_factory.mktemp("contract")) as stage:
        yield stage


@pytest.fixture(scope="module")
def ground(settings: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground(KubernetesBackend(), tmp_path_factory.mktemp("cache")) as ground:
        yield ground
