"""`dojo gateway serve`: what it needs, and that it ends as told."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from harness.gateway.shared.serve import shared_of, token_of
from harness.spec.backbone import Backbone
from harness.spec.errors import MissingError, UsageError

FILE = '[backbones.house]\nupstream = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\nkey = "HOUSE_KEY"\n'


def backbone(**said: object) -> Backbone:
    return Backbone.model_validate({"upstream": "openai", "model": "m", "shared": {}, **said})


def test_it_does_not_begin_without_a_token_that_nobody_guesses() -> None:
    with pytest.raises(MissingError, match="DOJO_GATEWAY_TOKEN is not set"):
        token_of({})
    with pytest.raises(UsageError, match="fewer than 16"):
        token_of({"DOJO_GATEWAY_TOKEN": "short"})


def test_it_does_not_begin_without_the_keys_and_backbones_that_it_is_to_serve() -> None:
    with pytest.raises(MissingError, match="HOUSE_KEY is not set"):
        shared_of({"house": backbone(key="HOUSE_KEY")}, {})
    with pytest.raises(UsageError, match=r"no backbone of .* is shared"):
        shared_of({"house": backbone(shared=None)}, {})
    with pytest.raises(UsageError, match="manual is no endpoint"):
        shared_of({"by_hand": backbone(upstream="manual")}, {})
    with pytest.raises(UsageError, match="cannot stand in an address"):
        shared_of({"a/b": backbone(base_url="http://127.0.0.1:9")}, {})


def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    (tmp_path / "dojo.toml").write_text(f"{FILE}shared = {{ requests_per_minute = 500 }}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOJO_")}
    environment |= {"DOJO_GATEWAY_TOKEN": "t" * 24, "HOUSE_KEY": "sk-key-of-the-house"}
    command = [sys.executable, "-m", "harness.cli.main", "gateway", "serve", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), process.communicate()
    assert httpx.get(f"{url}/readyz").json() == {"ok": True}
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0 and json.loads(log.splitlines()[-1]) == {"event": "drained"}
    assert "sk-key" not in log
