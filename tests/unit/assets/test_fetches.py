"""What preparing would fetch is said truly, for every task and profile, without a network."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.assets.dry_run import planned_fetches
from harness.assets.prepare import prepare_task
from harness.assets.task_dir import list_tasks, load_task
from harness.assets.task_program import declared_fetches
from harness.spec.errors import SpecError

TASKS = list_tasks()


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.id)
def test_every_profile_of_every_task_says_what_it_fetches_and_under_which_licence(task, tmp_path: Path) -> None:
    for profile, spec in task.dojo.profiles.items():
        fetches = planned_fetches(task, profile, spec.base_model, tmp_path)
        assert fetches[-1].what == f"base model {spec.base_model}"
        for fetch in fetches:
            assert fetch.licence and fetch.revision and fetch.state, fetch
            assert fetch.state != "in the cache"
        if profile != "mini":
            assert any(fetch.kind == "hub data" and fetch.files for fetch in fetches)


def test_an_unpinned_data_set_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOJO_HUB_MIRROR", raising=False)
    task = next(t for t in TASKS if t.id == "chemistry/mol_und")
    bench = planned_fetches(task, "full", "smol", tmp_path)[0]
    assert not bench.pinned and "DOJO_REVISION_OPENMOL_CHEMCOTBENCH" in bench.revision
    monkeypatch.setenv("DOJO_REVISION_OPENMOL_CHEMCOTBENCH", "a" * 40)
    assert planned_fetches(task, "full", "smol", tmp_path)[0].revision == "a" * 40


def test_what_is_in_the_cache_has_a_size(tmp_path: Path) -> None:
    task = next(t for t in TASKS if t.id == "chemistry/mol_und")
    folder = tmp_path / "packages" / "chemicals-1.5.2"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(bytes(2_500_000))
    package = planned_fetches(task, "mini", "smol", tmp_path)[0]
    assert (package.state, package.size) == ("in the cache", "2.5 MB")


ON_HUB = {"aime2025-I.jsonl": 1_000_000, "aime2025-II.jsonl": 500_000, "model.safetensors": 15_000_000_000, "model.bin": 7}
ON_HUB |= {"PAR4PC/test.parquet": 8_000_000, "PAR4PC/train.parquet": 9_000_000}


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does when it is asked what a repository holds."""

    def do_GET(self) -> None:
        """Tell the files of any repository but DeepScaleR, which is not there."""
        found = "DeepScaleR" not in self.path
        files = [{"rfilename": name, "size": size} for name, size in ON_HUB.items()]
        body = json.dumps({"id": "org/name", "sha": "a" * 40, "siblings": files}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        if not found:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def planned(task: str, tmp_path: Path, endpoint: str) -> list[dict[str, Any]]:
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "DOJO_HUB_MIRROR")}
    environment |= {"HF_ENDPOINT": endpoint, "DOJO_CACHE": str(tmp_path)}
    command = [
        sys.executable,
        "-m",
        "harness.cli.main",
        "data",
        "prepare",
        task,
        "--profile",
        "full",
        "--dry-run",
        "--json",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["data"]["fetches"]
    return found


def test_the_hub_is_asked_how_large_the_wanted_files_are(tmp_path: Path, hub: str) -> None:
    sizes = [fetch["size"] for fetch in planned("math/aime25", tmp_path, hub)]
    assert sizes == ["1.5 MB", "not known: the hub did not say (RepositoryNotFoundError)", "15.0 GB"]


def test_for_data_without_a_commit_the_hub_s_own_of_today_is_named(tmp_path: Path, hub: str) -> None:
    fetch = planned("patent/par4pc", tmp_path, hub)[0]
    assert (fetch["size"], fetch["pinned"], fetch["state"]) == ("17.0 MB", False, "cannot be fetched yet")
    assert f"DOJO_REVISION_LG_AI_RESEARCH_PANORAMA={'a' * 40}" in fetch["revision"]


def test_where_no_hub_answers_the_size_is_said_to_be_unknown(tmp_path: Path) -> None:
    sizes = [fetch["size"] for fetch in planned("math/aime25", tmp_path, "http://127.0.0.1:9")]
    assert len(sizes) == 3 and all(size.startswith("not known: the hub did not say (") for size in sizes)


def test_packages_and_mirrors_say_how_large_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = next(t for t in TASKS if t.id == "table/visualization")
    assert planned_fetches(task, "mini", "smol", tmp_path)[0].size == "0.2 MB"
    file = tmp_path / "mirror/datasets/Multilingual-Multimodal-NLP/TableBench/TableBench_TCoT.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(3_000_000))
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    bench = planned_fetches(task, "full", "smol", tmp_path)[0]
    assert (bench.state, bench.size, bench.pinned) == ("in the mirror", "3.0 MB", False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    source = next(t for t in TASKS if t.id == "math/aime25").path
    target = tmp_path / "tasks" / "math" / "aime25"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_a_declaration_that_is_not_what_is_fetched_is_refused(copied: Path, tmp_path: Path) -> None:
    prepare = copied / "prepare.py"
    prepare.write_text(prepare.read_text().replace('"mini": ()', '"mini": (AIME,)'))
    with pytest.raises(SpecError, match=r"FETCHES names \['.*'\] for mini, fetched was \[\]"):
        prepare_task(load_task(copied), "mini", tmp_path / "cache")


def test_a_task_that_declares_nothing_says_how(copied: Path) -> None:
    prepare = copied / "prepare.py"
    prepare.write_text(prepare.read_text().replace("FETCHES", "OTHER"))
    with pytest.raises(SpecError, match="does not declare") as caught:
        declared_fetches(load_task(copied), "mini")
    assert "FETCHES" in caught.value.hint
