"""What Prometheus is told of a shared gateway at ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from harness.gateway.shared.turns import Turns


class Measures:
    """The numbers of one replica, in a registry of their own."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, turns: Mapping[str, Turns]) -> None:
        self.registry = CollectorRegistry()
        what = ("backbone", "format", "status")
        self.requests = Counter("dojo_gateway_requests", "Requests answered", what, registry=self.registry)
        self.waited = Histogram("dojo_gateway_wait_seconds", "Time until a turn", ("backbone",), registry=self.registry)
        self.seconds = Histogram("dojo_gateway_seconds", "Time from turn to end of answer", ("backbone",), registry=self.registry)
        self.registry.register(_Turns(turns))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Turns(Collector):
    """Where the turns of each backbone stand whenever they are asked for."""

    def __init__(self, turns: Mapping[str, Turns]) -> None:
        self._turns = turns

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Look."""
        gauges: tuple[tuple[str, str, Callable[[Turns], float]], ...] = (
            ("waiting", "Calls that wait for their turn", lambda turns: turns.waiting),
            ("working", "Calls at the provider", lambda turns: turns.working),
            ("held_seconds", "For how long the provider wants nobody to ask", lambda turns: turns.held_s),
        )
        for name, about, look in gauges:
            family = GaugeMetricFamily(f"dojo_gateway_{name}", about, labels=["backbone"])
            for backbone, turns in self._turns.items():
                family.add_metric([backbone], look(turns))
            yield family
