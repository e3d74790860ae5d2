"""What is wrong with a submit is said before anything is fetched for it."""

import pytest

from harness.service import Dojo
from harness.spec.errors import MissingError, NotFoundError, UsageError


@pytest.fixture
def dojo(tmp_path):
    agent = tmp_path / "agents" / "large"
    agent.mkdir(parents=True)
    (agent / "agent.toml").write_text(
        'name = "large"\ncommand = ["true"]\nbackbone = "required"\n[install]\nnpm = "package-lock.json"\n'
    )
    (agent / "package.json").write_text("{}")
    (agent / "package-lock.json").write_text('{"lockfileVersion": 3, "packages": {}}')
    return Dojo(tmp_path / "home", tmp_path / "cache", agents=[tmp_path / "agents"], sandbox="unsafe-local")


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({}, MissingError, "agent large thinks with a language model"),
        ({"backbone": "opnai"}, NotFoundError, "opnai"),
        ({"backbone": "openai"}, MissingError, "OPENAI_API_KEY"),
        ({"backbone": "manual", "budget": "dollars=1"}, UsageError, "nobody knows what manual"),
        ({"backbone": "manual", "budget": "hours=1"}, UsageError, "hours"),
        ({"backbone": "manual", "profile": "none"}, UsageError, "none"),
    ],
)
def test_what_is_wrong_with_a_submit_is_said_before_anything_is_fetched(dojo, tmp_path, monkeypatch, asked, error, words):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(error, match=words):
        dojo.plan(["large"], ["math/aime25"], **{"profile": "mini", **asked})
    assert not (tmp_path / "cache").exists()
