"""A gateway in a process of its own over a run's real events, for a test to kill; says on stdout where it is."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from harness.gateway.server import GatewayContext, GatewayServer
from harness.gateway.upstreams.base import Answer, Call
from harness.session.journal import Journal
from harness.spec.backbone import Backbone
from harness.spec.budget import Budget
from harness.store.run_dir import RunDir
from tests.unit.gateway.conftest import TOKEN, chat_reply, chat_stream


class Stalling:
    """Streams begin and never end; whole answers come at once."""

    async def send(self, call: Call) -> Answer:
        return Answer(self._stall() if call.stream else self._whole(), {})

    async def _whole(self) -> AsyncIterator[bytes]:
        yield chat_reply()

    async def _stall(self) -> AsyncIterator[bytes]:
        yield chat_stream()[0]
        print("streaming", flush=True)
        await asyncio.Event().wait()

    async def probe(self) -> None:
        return

    async def close(self) -> None:
        return


def main(folder: Path, socket: Path, tokens: int) -> None:
    run = RunDir(folder)
    journal = Journal(run, lambda state: None)
    context = GatewayContext(
        backbone=Backbone(upstream="openai", model="m"),
        name="brain",
        upstream=Stalling(),
        budget=Budget(wall=600, tokens=tokens),
        ledger=journal.record.ledger,
        emit=journal.emit,
        elapsed=lambda: 1.0,
        recording=run.talk,
    )
    server = GatewayServer(context, socket, TOKEN, lambda error: print(error, file=sys.stderr))
    print("serving", flush=True)
    sys.stdin.readline()
    server.close(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
