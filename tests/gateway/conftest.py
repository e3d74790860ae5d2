"""Strangers: the providers' own clients in a sandbox without network, before a real gateway and a real upstream."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.gateway.backbones import backbone_ref, open_upstream
from harness.gateway.ledger import Ledger
from harness.gateway.server import GatewayContext, GatewayServer
from harness.sandbox import engine, images
from harness.sandbox.base import Mount, Sandbox, SandboxSpec
from harness.sandbox.registry import get_backend
from harness.session.llm import LlmGateway
from harness.spec.backbone import Backbone
from harness.spec.budget import Budget
from harness.spec.errors import DojoError
from harness.spec.event import LlmCalled, LlmRefused, Payload
from harness.spec.task import Limits
from harness.store.run_dir import RunDir
from tests.e2e.conftest import cache, dojo, tiny_model
from tests.gateway.opened import gateway
from tests.gateway.vllm_server import CONTEXT, serving

__all__ = ["cache", "dojo", "gateway", "tiny_model"]  # fixtures that are told elsewhere
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")
LIMITS = Limits(cpus=1, memory_mb=1024, pids=200, disk_mb=64)
SCRIPTED = Backbone(upstream="scripted", model="mind-1", script=HERE / "replies.toml")


def clients_for(python: str) -> Path:
    """Install the clients for a version of Python into the cache, once; skips the test where nothing can be fetched."""
    lock = HERE / "strangers.txt"
    kept = CACHE / "strangers" / f"{python}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with (kept.parent / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not kept.is_dir():
            making = kept.with_name(f"{kept.name}.{secrets.token_hex(4)}")
            only = ["--python-version", python, "--only-binary", ":all:", "--target", str(making)]
            done = subprocess.run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *only, "--requirement", str(lock)],
                capture_output=True,
                text=True,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            )
            if done.returncode:
                pytest.skip(f"the providers' clients cannot be installed here: {done.stderr.strip()[-300:]}")
            making.rename(kept)
    return kept


@dataclass
class Stranger:
    """One client's deeds: what came of them inside, and what the gateway booked."""

    told: dict[str, Any]
    events: list[Payload]
    errors: list[DojoError]
    ledger: Ledger

    @property
    def called(self) -> list[LlmCalled]:
        return [event for event in self.events if isinstance(event, LlmCalled)]

    @property
    def refused(self) -> list[LlmRefused]:
        return [event for event in self.events if isinstance(event, LlmRefused)]


@dataclass
class Place:
    """A sandbox whose only way out leads to a gateway that is opened anew for each stranger."""

    sandbox: Sandbox
    gateway: LlmGateway
    backbone: Backbone
    folder: Path
    token: str
    number: int = field(default=0)

    def visit(self, client: str, *deeds: str, budget: Budget | None = None, timeout_s: float = 300) -> Stranger:
        self.number += 1
        recording = self.folder / f"llm-{self.number}"
        events: list[Payload] = []
        errors: list[DojoError] = []
        upstream = open_upstream(self.backbone, environ=os.environ, recording=recording, runs=lambda run: Path(run))
        context = GatewayContext(
            backbone=self.backbone,
            name="brain",
            upstream=upstream,
            budget=budget or Budget(wall=3600),
            ledger=Ledger(),
            emit=events.append,
            elapsed=lambda: 1.0,
            recording=recording,
        )
        server = GatewayServer(context, self.gateway.relay.socket, self.token, errors.append)
        try:
            argv = ["python3", "-B", "/stranger/stranger.py", client, ",".join(deeds)]
            done = self.sandbox.exec(argv, timeout_s=timeout_s)
        finally:
            server.close()
        assert done.ok, (done.stderr.decode()[-3000:], errors)
        return Stranger(json.loads(done.stdout.splitlines()[-1]), events, errors, server.ledger)


Places = Callable[[Backbone], Any]


# by module: the image that is named for these places is not to be taken for other tests' runs
@pytest.fixture(scope="module", params=["namespace", "docker"])
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Makes places on a sandbox backend; skips where it is not to be had."""
    kind = request.param
    with pytest.MonkeyPatch.context() as patch:
        if kind == "docker":
            python, base = "3.11", images.reference("base", "cpu")
            try:
                docker = engine.client()
                with engine.speaking("looking for the base image"):
                    docker.images.get(base)
            except DojoError as exc:
                pytest.skip(f"{exc.message}: {exc.hint}")
            patch.setenv("DOJO_IMAGE_TASK", base)
        else:
            python = "{}.{}".format(*sys.version_info[:2])
        backend = get_backend(kind)
        bad = [check for check in backend.check() if not check.ok]
        if bad:
            pytest.skip(f"sandbox {kind} is not to be had here: {bad[0].detail}")
        clients = clients_for(python)

        @contextmanager
        def place(backbone: Backbone) -> Iterator[Place]:
            folder = tmp_path_factory.mktemp("place")
            token = secrets.token_hex(16)
            ref = backbone_ref("brain", backbone, runs=lambda run: Path(run))
            gateway = LlmGateway(ref, RunDir(folder / "run"), folder / "llm.sock", lambda: token, _never)
            id = f"stranger-{os.getpid()}-{secrets.token_hex(4)}"
            mounts = (Mount(clients, "/clients"), Mount(HERE / "inside", "/stranger"))
            try:
                sandbox = backend.create(SandboxSpec(id, LIMITS, mounts, (gateway.relay,), env=gateway.env()))
                yield Place(sandbox, gateway, backbone, folder, token)
            finally:
                backend.destroy(id)

        yield place


@pytest.fixture(scope="module")
def before_a_script(places: Places) -> Iterator[Place]:
    with places(SCRIPTED) as place:
        yield place


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a vLLM that serves the small model as ``smol``."""
    with serving(CACHE, tmp_path_factory.mktemp("vllm")) as address:
        yield address


@pytest.fixture(scope="module")
def before_vllm(places: Places, vllm: str) -> Iterator[Place]:
    backbone = Backbone(
        upstream="openai", model="smol", formats=("chat", "responses", "messages"), base_url=vllm, context=CONTEXT
    )
    with places(backbone) as place:
        yield place


def _never(*_: Any) -> Any:
    raise AssertionError("places open their gateways themselves")
