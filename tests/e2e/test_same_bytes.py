"""One sealed submission, scored twice: the same bytes, down to every answer."""

import hashlib
from pathlib import Path

import pytest

from tests.e2e.conftest import HAND_IN_BASE, Commands

pytestmark = pytest.mark.e2e

HAND_IN_A_CHANGED_MODEL = (
    HAND_IN_BASE
    + """
from safetensors.torch import load_file, save_file
weights = load_file("/models/base/model.safetensors")
name = next(n for n in sorted(weights) if "mlp" in n)
weights[name] = weights[name] * 1.01
os.makedirs("tuned")
save_file(weights, "tuned/model.safetensors", metadata={"format": "pt"})
json.dump(json.load(open("/models/base/config.json")), open("tuned/config.json", "w"))
api.submit("/workspace/PATH")
"""
)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def without_time(path: Path) -> str:
    """The whole verdict but for the line that says how long scoring took."""
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(' "seconds": ')]
    assert len(kept) == len(lines) - 1
    return "".join(kept)


@pytest.mark.parametrize("handed_in", ["out", "tuned"])
def test_a_sealed_submission_scored_again_gives_the_same_bytes(dojo: Commands, handed_in: str) -> None:
    agent = dojo.agent(handed_in, HAND_IN_A_CHANGED_MODEL.replace("PATH", handed_in))
    run = dojo(*dojo.submit(agent)).data["runs"][0]
    folder = dojo.run_folder()
    assert run["state"] == "done" and run["outcome"]["cause"] == "completed", (folder / "agent.stderr").read_text()
    sealed = {path.name: digest(path) for path in (folder / "sealed").rglob("*") if path.is_file()}
    assert ("model.safetensors" in sealed) == (handed_in == "tuned")
    for _ in range(2):
        assert dojo("grade", run["id"], "--again").code == 0
    verdicts = [without_time(folder / "private" / f"verdict-{n}.json") for n in (1, 2, 3)]
    assert len(set(verdicts)) == 1 and "response_sha256" in verdicts[0]
    # What was scored is what was sealed, still.
    assert sealed == {path.name: digest(path) for path in (folder / "sealed").rglob("*") if path.is_file()}
