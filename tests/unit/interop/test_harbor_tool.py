"""The oracle of an exported task runs on files alone: dojo's API without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.interop.harbor_tool import Client


@pytest.fixture
def client(tmp_path: Path) -> Client:
    (tmp_path / "task.json").write_text(json.dumps({"task": {"max_train_samples": 7}, "wall_s": 300.0}))
    return Client(tmp_path, tmp_path / "workspace" / "submission")


def folder(tmp_path: Path, name: str, mark: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    (made / mark).write_text(name)
    return made


def test_task_and_time_come_from_the_file(client: Client) -> None:
    assert client.task() == {"max_train_samples": 7}
    wall = client.budget()["wall"]
    assert wall["limit"] == 300.0 and 0 <= wall["used"] <= 300 and wall["left"] == 300.0 - wall["used"]


def test_the_last_folder_handed_in_is_what_lies_there(client: Client, tmp_path: Path) -> None:
    client.submit(str(folder(tmp_path, "base", "dojo.json")))
    client.submit(str(folder(tmp_path, "adapter", "adapter_config.json")))
    assert [path.name for path in (tmp_path / "workspace" / "submission").iterdir()] == ["adapter_config.json"]


def test_a_folder_without_a_model_is_no_submission(client: Client, tmp_path: Path) -> None:
    assert client.validate(str(folder(tmp_path, "adapter", "adapter_config.json")))["ok"]
    answer = client.validate(str(folder(tmp_path, "empty", "notes.txt")))
    assert not answer["ok"] and "adapter_config.json" in answer["problems"][0]


def test_there_is_no_score_to_ask_for(client: Client) -> None:
    assert not hasattr(client, "evaluate")
