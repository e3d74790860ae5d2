"""Two owners with a queue each, as docs/operate-a-cluster.md has them: what one does not use the other borrows, and no more."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import yaml

from harness.project import bundled
from harness.sandbox.base import SandboxSpec
from harness.sandbox.kubernetes import KubernetesBackend, queues
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.task import Limits
from tests.kubernetes.gpus import Kueue, require_gpu

pytestmark = pytest.mark.slow
NAME = f"h-{os.getpid()}"
LIMITS = Limits(cpus=0.2, memory_mb=128, disk_mb=64, gpus=1)


@pytest.fixture
def kueue(settings: pytest.MonkeyPatch) -> Iterator[Kueue]:
    """The page's queues with one GPU each, by names of our own."""
    require_gpu(2)
    found = Kueue()
    (text,) = re.findall(r"```yaml\n(.*?)```", (bundled("docs") / "operate-a-cluster.md").read_text(), re.DOTALL)
    text = text.replace("nvidia.com/gpu, nominalQuota: 4", "nvidia.com/gpu, nominalQuota: 1")
    bodies: list[dict[str, Any]] = list(yaml.safe_load_all(re.sub(r"\bdojo\b(?!-sandboxes)", NAME, text)))
    flavor = {"apiVersion": bodies[0]["apiVersion"], "kind": "ResourceFlavor", "metadata": {"name": NAME}}
    with found.made([flavor, *bodies]):
        yield found


def of(owner: str, **more: Any) -> Settings:
    return queues.named(Settings(queue=f"{NAME}-{{owner}}", wait=60.0, priority_class="", **more), owner)


def test_an_owner_borrows_what_nobody_uses_and_waits_for_his_own_where_it_is_lent(kueue: Kueue) -> None:
    with ExitStack() as anns:
        for number in (1, 2):
            spec = SandboxSpec(f"{NAME}-{number}-task", LIMITS)
            anns.enter_context(closing(KubernetesBackend(of("ann")).create(spec)))
        assert (kueue.used(f"{NAME}-ann"), kueue.used(f"{NAME}-bob")) == (2, 0)
        with pytest.raises(SandboxUnavailable, match="waits for kueue"):
            KubernetesBackend(of("bob").model_copy(update={"wait": 3.0})).create(SandboxSpec(f"{NAME}-3-task", LIMITS))
    with closing(KubernetesBackend(of("bob")).create(SandboxSpec(f"{NAME}-4-task", LIMITS))):
        assert kueue.used(f"{NAME}-bob") == 1


def test_an_owner_without_a_queue_is_refused_by_name_or_has_the_fallback(kueue: Kueue) -> None:
    with pytest.raises(MissingError, match=f"no LocalQueue {NAME}-eve in dojo-sandboxes for eve"):
        of("eve")
    assert of("eve", queue_fallback=f"{NAME}-bob").queue == f"{NAME}-bob"
