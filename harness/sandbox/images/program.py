"""The docker program: the engine's interface for Python knows nothing of BuildKit, which our Dockerfiles need."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from harness.sandbox import engine
from harness.spec.errors import MissingError
from harness.spec.progress import Progress

_STEP = re.compile(r"#\d+ (\[.*\d+/\d+\] .*)")
_ERROR = re.compile(r"(error|failed|fatal|E)\b[^/]*:", re.IGNORECASE)
_STAMP = re.compile(r"#\d+ ([\d.]+ )?")
# Half of the minute after which a command must have said something.
_QUIET_S = 30.0


def find_docker() -> str:
    """Return a docker program that can build with BuildKit.

    From version 23 on it needs its plugin buildx for that; older ones have it inside, so where several are installed any may do.

    Raises:
        MissingError: there is none, or no engine answers.
    """
    engine.client()
    names = dict.fromkeys(f"{folder}/docker" for folder in os.environ.get("PATH", "").split(":") if folder)
    found = [name for name in names if os.access(name, os.X_OK)]
    for name in found:
        asked = [name, "version", "--format", "{{.Client.Version}}"]
        version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split(".")[0]
        old = version.isdigit() and int(version) < 23
        if old or subprocess.run([name, "buildx", "version"], capture_output=True, check=False).returncode == 0:
            return name
    raise MissingError(
        "no docker program here can build with BuildKit" if found else "the docker program is not installed",
        hint="install Docker's plugin buildx (docker-buildx-plugin), or Debian's docker.io",
    )


def has_image(reference: str) -> bool:
    """Whether the engine has an image."""
    return subprocess.run([find_docker(), "image", "inspect", reference], capture_output=True, check=False).returncode == 0


def has_bridge() -> bool:
    """Whether the engine has its usual network; one that is for sandboxes alone (scripts/engine.sh) needs none."""
    docker = engine.client()
    with engine.speaking("listing networks"):
        return any(network.name == "bridge" for network in docker.networks.list())


def pull(reference: str) -> str:
    """Pull an image; return why it cannot be, or nothing."""
    done = subprocess.run([find_docker(), "pull", "--quiet", reference], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def build_image(arguments: Sequence[str], log: Path, say: Progress) -> None:
    """Run ``docker build``, telling of each step; the whole output goes to ``log``.

    Raises:
        MissingError: it fails; says why and where the output is.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [find_docker(), "build", "--progress=plain", *arguments]
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    with (
        open(log, "w", encoding="utf-8") as whole,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        _tell(lines, whole, say)
    if process.returncode:
        raise MissingError(f"docker build fails: {reason(log.read_text(encoding='utf-8'))}", hint=f"its whole output: {log}")


def import_tar(write: Callable[[IO[bytes]], None], tag: str) -> None:
    """Make an image of a tar that ``write`` writes, in place of an earlier one; nothing lies on disk in between.

    Raises:
        MissingError: the engine does not take it.
    """
    docker = find_docker()
    asked = [docker, "image", "inspect", "--format", "{{.Id}}", tag]
    earlier = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    with subprocess.Popen(
        [docker, "import", "-", tag], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        try:
            write(process.stdin)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended early, and says why below
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise MissingError(f"{tag} cannot be imported: {said[-300:]}", hint="is the engine's disk full? `docker system df`")
    if earlier:
        remove_image(earlier)


def remove_image(tag: str) -> None:
    """Remove an image by tag or id, unless something still stands on it or runs it; it may be gone already."""
    subprocess.run([find_docker(), "rmi", tag], capture_output=True, check=False)


def reason(output: str) -> str:
    """Return why a build failed: what the programs in it say, or else what the builder says."""
    errors = [line for text in output.splitlines() if _ERROR.match(line := _STAMP.sub("", text.strip(), count=1))]
    own = [line for line in errors if "executor failed" not in line and "failed to solve" not in line]
    return " / ".join(dict.fromkeys((own or errors)[-3:]))[:600] or output.strip()[-400:]


def _read(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _tell(lines: queue.SimpleQueue[str | None], whole: IO[str], say: Progress) -> None:
    last = ""
    while True:
        try:
            line = lines.get(timeout=_QUIET_S)
        except queue.Empty:
            say(f"  … {last}")
            continue
        if line is None:
            return
        whole.write(line)
        last = _STAMP.sub("", line.strip(), count=1)[:160] or last
        if step := _STEP.match(line):
            say(f"  {step[1][:72]}")
