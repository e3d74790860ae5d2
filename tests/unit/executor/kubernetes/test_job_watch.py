"""The watch on Jobs: one listing, then changes, and a new listing whenever the API was away."""

import json
import queue
from typing import Any

import pytest

from harness.executor.kubernetes import watch as module
from harness.executor.kubernetes.ends import finished
from harness.executor.kubernetes.watch import JobWatch
from tests.unit.executor.kubernetes.objects import RUN, complete, job


class Response:
    """A watch's answer: lines, then its end."""

    status = 200

    def __init__(self, *events: tuple[str, dict[str, Any]]) -> None:
        self._events = events

    def stream(self, amt: Any, decode_content: bool) -> Any:
        for kind, seen in self._events:
            yield json.dumps({"type": kind, "object": seen}).encode() + b"\n"

    def close(self) -> None:
        pass

    def release_conn(self) -> None:
        pass


class Api:
    """Answers watches one after the other; an exception is an API that is away."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def list_namespaced_job(self, namespace: str, **keywords: Any) -> Any:
        """Watch. :return: V1JobList"""
        self.asked.append(keywords["resource_version"])
        answer = self.answers.pop(0) if self.answers else Response()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)


def followed(api: Api, listings: list[Any], changes: int) -> list[tuple[str, str]]:
    into: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listed(selector: str) -> Any:
        found = listings.pop(0) if len(listings) > 1 else listings[0]
        if isinstance(found, Exception):
            raise found
        return found, "7"

    watch = JobWatch(api, "dojo", "a=b", into, listed)
    watch.start()
    try:
        return [(kind, seen["metadata"]["name"]) for kind, seen in (into.get(timeout=30) for _ in range(changes))]
    finally:
        watch.stop()


def test_jobs_that_are_there_come_first_and_changes_from_that_listing_on() -> None:
    api = Api(Response(("MODIFIED", complete(1)), ("DELETED", job(1))))
    name = job(1)["metadata"]["name"]
    assert followed(api, [[job(1)]], 3) == [("SEEN", name), ("SEEN", name), ("DELETED", name)]
    assert api.asked[0] == "7"


def test_an_api_that_is_away_is_asked_again_until_it_answers() -> None:
    away = OSError("connection refused")
    api = Api(away, away, Response(("MODIFIED", complete(1))))
    seen = followed(api, [[], away, away, [], []], 1)
    assert seen == [("SEEN", complete(1)["metadata"]["name"])]


def test_a_job_that_went_while_nobody_watched_is_told_as_gone() -> None:
    first, second = job(1)["metadata"]["name"], job(2)["metadata"]["name"]
    api = Api(OSError("reset"))
    assert followed(api, [[job(1), job(2)], [job(2)]], 4) == [
        ("SEEN", first),
        ("SEEN", second),
        ("DELETED", first),
        ("SEEN", second),
    ]


def test_what_is_kept_of_thousands_of_jobs_is_what_says_how_they_ended() -> None:
    api = Api(Response(("MODIFIED", {**complete(1), "spec": {"template": "long"}})))
    into: queue.SimpleQueue[Any] = queue.SimpleQueue()
    watch = JobWatch(api, "dojo", "a=b", into, lambda selector: ([], "7"))
    watch.start()
    try:
        _, seen = into.get(timeout=30)
    finally:
        watch.stop()
    assert finished(seen) and seen["metadata"]["labels"]["org.dojo.run"] == RUN
    assert "spec" not in seen
