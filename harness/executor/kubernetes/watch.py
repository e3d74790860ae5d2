"""One watch on the Jobs of a batch, in a thread of its own: it says which Job has changed, through any outage of the API."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

# The server ends a watch after this long, seconds, so that a connection that died silently is noticed.
_WATCH_S = 60
_SILENT_S = 15.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0

Changed = tuple[str, dict[str, Any]]
"""A Job that was seen (``"SEEN"``) or is gone (``"DELETED"``): its name, labels and conditions, laid out as the API does."""


class JobWatch:
    """Reads the Jobs of a label selector, then every change of them, until it is stopped.

    Args:
        api: the client's BatchV1Api.
        namespace: where the Jobs are.
        selector: which.
        into: where changes go.
        listed: returns the Jobs and the version of that listing.
    """

    def __init__(
        self,
        api: Any,
        namespace: str,
        selector: str,
        into: queue.SimpleQueue[Changed],
        listed: Callable[[str], tuple[list[dict[str, Any]], str]],
    ) -> None:
        self._api, self._namespace, self._selector, self._into, self._listed = api, namespace, selector, into, listed
        self._stop = threading.Event()
        self._known: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._follow, name="dojo-jobs", daemon=True).start()

    def stop(self) -> None:
        """Tell nothing more; the thread ends with the watch that it is in."""
        self._stop.set()

    def _follow(self) -> None:
        pause = _PAUSE_S
        while not self._stop.is_set():
            try:
                version = self._list()
                pause = _PAUSE_S
                self._watch(version)
            except Exception as exc:  # whatever it is, nobody else tells who waits: look again until the cluster answers
                logging.getLogger(__name__).info("the watch on Jobs broke and begins again: %s", exc)
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _list(self) -> str:
        jobs, version = self._listed(self._selector)
        now = {job["metadata"]["name"]: job for job in jobs}
        for name in [name for name in self._known if name not in now]:
            self._tell("DELETED", self._known[name])
        for job in now.values():
            self._tell("SEEN", job)
        return version

    def _watch(self, version: str) -> None:
        """Read changes from ``version`` on, and again from the last one that was read, until the server forgot it."""
        from kubernetes.watch import Watch

        while not self._stop.is_set():
            watch = Watch()  # type: ignore[no-untyped-call]
            for event in watch.stream(  # type: ignore[no-untyped-call]
                self._api.list_namespaced_job,
                self._namespace,
                label_selector=self._selector,
                resource_version=version,
                allow_watch_bookmarks=True,
                timeout_seconds=_WATCH_S,
                deserialize=False,
                _request_timeout=(_SILENT_S, _WATCH_S + _SILENT_S),
            ):
                version = event["object"]["metadata"]["resourceVersion"]
                if self._stop.is_set():
                    return
                if event["type"] != "BOOKMARK":
                    self._tell("DELETED" if event["type"] == "DELETED" else "SEEN", event["object"])

    def _tell(self, kind: str, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        if kind == "DELETED":
            self._known.pop(name, None)
        else:
            job = self._known[name] = _short(job)
        self._into.put((kind, job))


def _short(job: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a Job: thousands of them, each with its whole template, would be most of the process."""
    metadata = job["metadata"]
    return {
        "metadata": {key: metadata[key] for key in ("name", "uid", "labels") if key in metadata},
        "status": {"conditions": (job.get("status") or {}).get("conditions") or []},
    }
