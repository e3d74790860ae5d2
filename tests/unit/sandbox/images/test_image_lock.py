"""The lock file, what is read out of a build's output, and the disk that a build takes."""

from pathlib import Path

import pytest

from harness.sandbox import engine
from harness.sandbox.images import find_image
from harness.sandbox.images.program import reason
from harness.sandbox.images.space import free_mb, refuse_small_disk
from harness.sandbox.images.state import Built, Locked, lock_path, read_lock, up_to_date, write_lock
from harness.sandbox.images.verify import _compare
from harness.spec.errors import MissingError

ENTRY = Locked(inputs="a" * 64, digest="sha256:1", base="dojo/base:bookworm", way="offline", built="2026-01-01", size_mb=7)
OUTPUT = """\
#9 [stage-1 3/4] RUN pip install
#9 3.214 Looking in links: /wheels
#9 4.118 ERROR: Could not find a version that satisfies the requirement nothing-like-this
#9 4.119 ERROR: No matching distribution found for nothing-like-this
#9 ERROR: executor failed running [/bin/sh -c pip install]: exit code: 1
 > [stage-1 3/4] RUN pip install:
failed to solve: rpc error: code = Unknown desc = executor failed running
"""


def test_a_lock_is_read_back_as_it_was_written_sorted(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    write_lock({"b": ENTRY, "a": ENTRY}, path)
    assert read_lock(path) == {"a": ENTRY, "b": ENTRY}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    assert read_lock(tmp_path / "none.json") == {}


def test_the_committed_lock_records_what_is_pinned_and_no_file_system_path() -> None:
    task = find_image("task", "cpu")
    lock = read_lock(lock_path(task))
    assert {"dojo/base:bookworm", "dojo/task:cpu", "dojo/grader:cpu"} <= set(lock)
    assert "dojo/harness:cpu" not in lock
    assert lock["dojo/task:cpu"].base == "dojo/base:bookworm"


def test_an_image_is_compared_with_the_lock_by_what_it_is_made_of(checkout: Path) -> None:
    from harness.sandbox.images import inputs_digest

    image = find_image("above", "cpu", checkout)
    found = Built(digest="sha256:1", inputs=inputs_digest(image), size_mb=7, created="", user="agent")
    entry = ENTRY.model_copy(update={"inputs": inputs_digest(image)})
    assert up_to_date(image, found) and not up_to_date(image, None)
    assert _compare(image, found, None) == (False, "not in images/lock.json")
    assert _compare(image, found, entry)[0] and "as in" in _compare(image, found, entry)[1]
    other = _compare(image, found, entry.model_copy(update={"digest": "sha256:2"}))
    assert other[0] and "another build" in other[1]
    (checkout / "constraints.txt").write_text("dojo_small==1.1\n")
    assert not up_to_date(image, found)
    assert _compare(image, found, entry) == (False, "images/lock.json records older inputs")


def test_why_a_build_failed_is_what_its_programs_said() -> None:
    said = reason(OUTPUT)
    assert said.endswith("ERROR: No matching distribution found for nothing-like-this")
    assert "executor failed" not in said and "#9" not in said
    assert reason("#9 ERROR: executor failed running x") == "ERROR: executor failed running x"
    assert reason("killed") == "killed"


def test_a_disk_that_is_too_small_is_refused_with_both_numbers(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "facts", lambda: {"DockerRootDir": "/nowhere/of/a/virtual/machine"})
    text = (checkout / "images" / "images.toml").read_text()
    refuse_small_disk(find_image("above", "cpu", checkout), tmp_path / "not" / "yet" / "made")
    (checkout / "images" / "images.toml").write_text(text.replace("cpu = 1,", "cpu = 900000000000,"))
    with pytest.raises(MissingError, match=r"takes up to 900000000000 MB, and the cache's disk has \d+ MB free"):
        refuse_small_disk(find_image("above", "cpu", checkout), tmp_path)
    monkeypatch.setattr(engine, "facts", lambda: {"DockerRootDir": str(tmp_path)})
    with pytest.raises(MissingError, match="the engine's disk") as caught:
        refuse_small_disk(find_image("above", "cpu", checkout), tmp_path / "cache")
    assert "docker system df" in caught.value.hint
    assert free_mb(tmp_path) > 0
