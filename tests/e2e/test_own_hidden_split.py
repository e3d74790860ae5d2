"""Whole runs on hidden splits of two installations: each result says what it was drawn with, and unlike ones are not compared."""

import os

import pytest

from tests.e2e.conftest import HAND_IN_BASE, Commands

pytestmark = pytest.mark.e2e


def test_a_result_says_which_secret_its_hidden_split_was_drawn_with_and_only_equal_ones_are_compared(
    dojo: Commands,
) -> None:
    secret = dojo("data", "secret").data["digest"]
    one = dojo.agent("one", HAND_IN_BASE + "api.submit('out')\n")
    two = dojo.agent("two", HAND_IN_BASE + "api.submit('out')\n")
    assert dojo(*dojo.submit(one)).code == 0
    first = dojo("show", "@last").data
    assert first["spec"]["task"]["hidden"] == secret and first["integrity"]["searched_for_cheating"] is True
    assert oct(os.stat(dojo.cache / "hidden.secret").st_mode & 0o777) == "0o600"

    assert dojo(*dojo.submit(two), "--public-hidden").code == 0
    second = dojo("show", "@last").data
    assert second["spec"]["task"]["hidden"] == "public"
    assert second["spec"]["task"]["data_digest"] != first["spec"]["task"]["data_digest"]
    marks = {row["agent"]: row["hidden"] for row in dojo("leaderboard").data["rows"]}
    assert marks == {"one": "", "two": "public hidden split"}
    assert "hidden" in dojo("compare", "one", "two").error["message"]
    refused = dojo("compare", "one", "two", "--mix").error["message"]
    assert f"drawn with {secret} and with public" in refused or f"drawn with public and with {secret}" in refused
    answered = dojo("items", "--diff", first["spec"]["id"], second["spec"]["id"])
    assert "different hidden splits" in answered.error["message"]
