"""How a grader's worker takes up requests."""

import json
from pathlib import Path

from harness.grading.worker.main import next_request


def test_the_first_request_without_a_reply_is_taken_up_and_one_that_vanishes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    requests, replies = tmp_path / "requests", tmp_path / "replies"
    requests.mkdir()
    replies.mkdir()
    assert next_request(requests, replies) is None
    (requests / "1.json").write_text(json.dumps({"op": "check"}), encoding="ascii")
    (replies / "1.json").write_text("{}", encoding="ascii")
    assert next_request(requests, replies) is None
    # what the host removes after the folder was listed is a name without a file, as this link is
    (requests / "2.json").symlink_to(tmp_path / "gone")
    assert next_request(requests, replies) is None
    (requests / "3.json").write_text(json.dumps({"op": "stop"}), encoding="ascii")
    assert next_request(requests, replies) == ("3.json", {"op": "stop"})
