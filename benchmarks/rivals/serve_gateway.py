"""dojo's gateway in a process of its own for `benchmarks/gateway.py`: a run's journal with real fsyncs, an upstream by HTTP.

    python benchmarks/rivals/serve_gateway.py SOCKET UPSTREAM_URL FOLDER

Prints ``ready``; ends when its standard input does.
"""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from harness.gateway.backbones import open_upstream
from harness.gateway.ledger import Ledger
from harness.gateway.server import GatewayContext, GatewayServer
from harness.session.journal import Journal
from harness.spec.agent import AgentConfig
from harness.spec.backbone import Backbone
from harness.spec.budget import Budget
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef
from harness.spec.task import Generation, Limits
from harness.store.run_dir import RunDir


def main(socket: Path, url: str, folder: Path) -> None:
    budget = Budget(wall=3600, tokens=10**9)
    spec = RunSpec(
        id="bench",
        batch="bench",
        agent=AgentRef(config=AgentConfig(name="bench", command=("true",)), digest="-"),
        task=TaskRef(id="bench/gateway", profile="mini", digest="-", data_digest="-"),
        base_model=BaseModelRef(name="none", digest="-"),
        seed=0,
        budget=budget,
        limits=Limits(),
        generation=Generation(),
        sandbox="-",
        created=datetime.now(UTC),
    )
    run = RunDir.create(folder / "run", spec)
    backbone = Backbone(upstream="openai", model="bench", base_url=url, concurrency=256, max_output=1000)
    started = time.monotonic()
    server = GatewayServer(
        GatewayContext(
            backbone=backbone,
            name="bench",
            upstream=open_upstream(backbone, environ={}, recording=run.talk, runs=lambda _: run.path),
            budget=budget,
            ledger=Ledger(),
            emit=Journal(run, lambda _state: None).emit,
            elapsed=lambda: time.monotonic() - started,
            recording=run.talk,
            secrets=(),
        ),
        socket,
        "bench-token",
        lambda error: print(error, error.hint, file=sys.stderr),
    )
    print("ready", flush=True)
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
