"""Looking into built images: are they what the lock file says, and does what they hold work there?"""

from __future__ import annotations

from harness.sandbox import engine
from harness.sandbox.base import Check
from harness.sandbox.images.definition import Image
from harness.sandbox.images.state import built, read_lock, up_to_date
from harness.spec.errors import DojoError

# image → a program that must work inside, without network, as the agent
_TRIES = {
    "base": "import json, socket, sqlite3, ssl, venv",
    "task": "import torch, transformers, peft, trl, datasets, accelerate, optuna, pandas; torch.ones(2) @ torch.ones(2)",
    "grader": "import torch, lm_eval, math_verify, rdkit.Chem, matplotlib.pyplot, rouge_score; rdkit.Chem.MolFromSmiles('C')",
    "harness": "import harness.cli.main, harness.service",
    "openhands": "import openhands.sdk",
}
_LOOK = """
import os, pwd, subprocess
faults = []
if pwd.getpwuid(1000).pw_name != "agent": faults.append("user 1000 is not agent")
found = subprocess.run(["find", "/", "-xdev", "-type", "f", "-perm", "/6000"], capture_output=True, text=True).stdout.split()
faults += [f"{name} is set-uid" for name in found]
for name in ("/root/.cache/pip", "/root/.netrc", "/etc/pip.conf", "/root/.config/pip"):
    if os.path.exists(name): faults.append(f"{name} is there")
print("; ".join(faults))
"""


def verify(image: Image) -> list[Check]:
    """Check one image; one that is not built is a single line that says so.

    Raises:
        MissingError, SandboxUnavailable: no engine answers.
    """
    found, locked = built(image), read_lock().get(image.tag)
    if found is None:
        return [Check(image.tag, False, "not built", f"dojo images build {image.name}")]
    fresh = up_to_date(image, found)
    checks = [
        Check(f"{image.tag} inputs", fresh, "up to date" if fresh else "made of older inputs", f"dojo images build {image.name}"),
        Check(
            f"{image.tag} digest",
            locked is not None,
            f"{found.digest[:19]}, {'as in' if locked and locked.digest == found.digest else 'another build than that of'} "
            "images/lock.json"
            if locked
            else "not in images/lock.json",
            f"dojo images build {image.name} records it",
        ),
    ]
    as_root = _run(image, _LOOK, "0:0")
    checks.append(
        Check(
            f"{image.tag} contents",
            as_root == "",
            as_root or "the agent's user, no set-uid program, no settings of pip",
            "rebuild it",
        )
    )
    tried = _run(image, f"{_TRIES[image.name]}\nimport os; print('' if os.getuid() == 1000 else 'not the agent')", "1000:1000")
    checks.append(
        Check(
            f"{image.tag} works", tried == "", tried or "what it holds can be imported, without network, read-only", "rebuild it"
        )
    )
    return checks


def _run(image: Image, program: str, user: str) -> str:
    """Run a Python program in a fresh container of the image and return what it printed, errors too."""
    from docker.errors import ContainerError

    docker = engine.client()
    try:
        with engine.speaking(f"running {image.tag}"):
            try:
                said: bytes = docker.containers.run(
                    image.tag,
                    entrypoint=["python3", "-c"],
                    command=[program],
                    user=user,
                    network_mode="none",
                    read_only=True,
                    tmpfs={"/tmp": "size=256m", "/workspace": "size=64m,uid=1000"},
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges:true"],
                    environment={"HOME": "/workspace", "MPLCONFIGDIR": "/tmp"},
                    remove=True,
                    stderr=True,
                )
            except ContainerError as exc:
                said = exc.stderr or str(exc).encode()
                return (said.decode(errors="replace").strip().splitlines() or ["it failed"])[-1]
    except DojoError as exc:
        return exc.message
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
