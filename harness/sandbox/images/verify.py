"""Looking into built images: are they what the lock file says, and does what they hold work there?"""

from __future__ import annotations

from harness.sandbox import engine
from harness.sandbox.base import Check
from harness.sandbox.images.definition import Image, inputs_digest
from harness.sandbox.images.state import Built, Locked, built, lock_path, read_lock, up_to_date
from harness.spec.errors import DojoError

_LOOK = """
import os, pwd, subprocess
faults = []
if pwd.getpwuid(1000).pw_name != "agent": faults.append("user 1000 is not agent")
listed = subprocess.run(["find", "/", "-xdev", "-type", "f", "-perm", "/6000"], capture_output=True, text=True)
faults += [f"{name} is set-uid" for name in listed.stdout.split()]
for name in ("/root/.cache/pip", "/root/.netrc", "/etc/pip.conf", "/root/.config/pip", "/workspace/.cache"):
    if os.path.exists(name): faults.append(f"{name} is there")
print("; ".join(faults))
"""
_AS_AGENT = "import os, pwd; print('' if pwd.getpwuid(os.getuid()).pw_name == 'agent' else 'not the user agent')"


def verify(image: Image) -> list[Check]:
    """Check one image; one that is not built is a single line that says so.

    Raises:
        MissingError, SandboxUnavailable: no engine answers.
    """
    found = built(image)
    if found is None:
        return [Check(image.tag, False, "not built", f"dojo images build {image.name}")]
    again = f"dojo images build {image.name}"
    fresh = up_to_date(image, found)
    checks = [Check(f"{image.tag} inputs", fresh, "up to date" if fresh else "made of older inputs", again)]
    if image.pinned:
        locked = read_lock(lock_path(image)).get(image.tag)
        checks.append(Check(f"{image.tag} lock", *_compare(image, found, locked), f"{again} records it"))
    user = image.definition.user
    checks.append(
        Check(f"{image.tag} user", found.user == user, f"{found.user} by default", f"it should be {user}; build it again")
    )
    looked = _run(image, _LOOK, "0:0")
    clean = "the user agent, no set-uid program, no cache or settings of pip"
    checks.append(Check(f"{image.tag} contents", looked == "", looked or clean, again))
    tried = _run(image, f"{image.definition.works}\n{_AS_AGENT}", "1000:1000")
    works = "what it holds can be imported, without network, read-only, as agent"
    checks.append(Check(f"{image.tag} works", tried == "", tried or works, again))
    return checks


def _compare(image: Image, found: Built, locked: Locked | None) -> tuple[bool, str]:
    """Say whether the lock file knows the image. Another build of the same inputs has another id, and is fine."""
    if locked is None:
        return False, "not in images/lock.json"
    if locked.inputs != inputs_digest(image):
        return False, "images/lock.json records older inputs"
    same = "as in" if locked.digest == found.digest else "another build than the one in"
    return True, f"{found.digest[:19]}, {same} images/lock.json"


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
                    tmpfs={"/tmp": "size=256m"},
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges:true"],
                    environment={"HOME": "/tmp"},
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
