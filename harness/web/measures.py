"""What Prometheus is told at ``/metrics``."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from harness.service import Dojo
from harness.spec.outcome import RunState


class Measures:
    """The numbers of one replica, in a registry of their own."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, dojo: Dojo) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("dojo_http_requests", "Requests answered", ("method", "route", "status"), registry=self.registry)
        self.seconds = Histogram("dojo_http_request_seconds", "Time to the end of an answer", ("route",), registry=self.registry)
        self.refused = Counter("dojo_refused", "Requests refused, by the error's code", ("code",), registry=self.registry)
        self.streams = Gauge("dojo_event_streams", "Streams of events that are open", registry=self.registry)
        self.batches = Gauge("dojo_batches_driven", "Batches that this replica drives", registry=self.registry)
        self.lost = Counter("dojo_driving_errors", "Batches whose driving broke here", registry=self.registry)
        self.registry.register(_Runs(dojo))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Runs(Collector):
    """Runs by state, counted in the store whenever they are asked for."""

    def __init__(self, dojo: Dojo) -> None:
        self._dojo = dojo

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the metric without asking the store."""
        yield GaugeMetricFamily("dojo_runs", "Runs in the store, by state", labels=["state"])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count."""
        found = Counted(info.state for info in self._dojo.store.runs())
        family = GaugeMetricFamily("dojo_runs", "Runs in the store, by state", labels=["state"])
        for state in RunState:
            family.add_metric([state.value], found[state])
        yield family
