"""`dojo doctor gateway` looks at the real thing: a gateway on a socket, called in every format."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.executor.doctor import diagnose
from harness.executor.doctor_gateway import diagnose_gateway
from harness.gateway.formats import FORMATS
from harness.gateway.upstreams.scripted import ScriptedUpstream
from harness.sandbox.base import Check
from harness.spec.backbone import Backbone, Prices
from harness.spec.errors import DojoError


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_gateway_answers_in_every_format_counts_and_lets_no_stranger_in() -> None:
    checks = by_name(diagnose_gateway({}, {}))
    assert all(check.ok for check in checks.values()), checks
    assert set(checks) == {"gateway libraries", *(f"gateway {name}" for name in FORMATS), "gateway account", "providers' keys"}
    assert checks["gateway account"].detail.startswith("4 calls counted")
    assert "starlette" in checks["gateway libraries"].detail


def test_keys_are_told_by_name_and_never_by_value(tmp_path: Path) -> None:
    backbones = {
        "mine": Backbone(upstream="anthropic", model="claude-opus-5-5"),
        "house": Backbone(upstream="openai", model="m", base_url="http://127.0.0.1:1/v1", key="HOUSE_KEY"),
        "local": Backbone(upstream="openai", model="m", base_url="http://127.0.0.1:1/v1", prices=Prices(input=0, output=0)),
        "rehearsal": Backbone(upstream="scripted", script=tmp_path / "gone.toml"),
        "blank": Backbone(upstream="google", model="x"),
    }
    environ = {"ANTHROPIC_API_KEY": "sk-very-secret", "GEMINI_API_KEY": "two words-secret"}
    checks = by_name(diagnose_gateway(backbones, environ))
    assert "secret" not in str(checks)
    mine, house, local = checks["backbone mine"], checks["backbone house"], checks["backbone local"]
    assert mine.ok and "ANTHROPIC_API_KEY is set" in mine.detail and "prices as of 20" in mine.detail
    assert not house.ok and "HOUSE_KEY is not set" in house.detail and "export HOUSE_KEY" in house.hint
    assert local.ok and "no key needed, prices from dojo.toml" in local.detail
    assert not checks["backbone rehearsal"].ok and "gone.toml" in checks["backbone rehearsal"].detail
    assert not checks["backbone blank"].ok and checks["backbone blank"].hint
    assert checks["providers' keys"].detail == "ANTHROPIC_API_KEY, GEMINI_API_KEY set; OPENAI_API_KEY not set"


def test_unknown_prices_are_told_and_are_no_fault() -> None:
    local = Backbone(upstream="openai", model="our/own", base_url="http://127.0.0.1:1/v1")
    again = Backbone(upstream="replay", run="r1")
    checks = by_name(diagnose_gateway({"local": local, "again": again}, {}))
    assert checks["backbone again"].detail == "replay, no key needed, prices of run r1"
    check = checks["backbone local"]
    assert check.ok and "prices unknown: budgets in dollars are refused" in check.detail


def test_an_upstream_that_fails_inside_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(self: ScriptedUpstream, call: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(ScriptedUpstream, "send", send)
    checks = by_name(diagnose_gateway({}, {}))
    assert not any(checks[f"gateway {name}"].ok for name in FORMATS)
    assert "500" in checks["gateway chat"].detail and "out of order" in checks["gateway account"].detail


def test_a_folder_where_no_socket_can_be_made_is_told_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    check = by_name(diagnose_gateway({}, {}))["gateway"]
    assert not check.ok and "does not come up" in check.detail and "TMPDIR" in check.hint


def test_missing_libraries_are_named_before_anything_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., object] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "uvicorn" else real(name, *rest))
    checks = diagnose_gateway({}, {})
    assert (checks[0].ok, checks[0].detail, checks[0].hint) == (False, "missing: uvicorn", "pip install uvicorn")
    assert [check.name for check in checks] == ["gateway libraries", "providers' keys"]


def test_it_is_an_area_of_doctor(tmp_path: Path) -> None:
    names = [check.name for check in diagnose(tmp_path, tmp_path, "namespace", "gateway")]
    assert "gateway google" in names
    with pytest.raises(DojoError, match="doctor area"):
        diagnose(tmp_path, tmp_path, "namespace", "gatewya")
