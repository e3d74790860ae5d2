"""Trying things as an ordinary user of this host: a Python that it may run and a copy of the package that it may read."""

import contextlib
import grp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from compileall import compile_dir
from importlib.util import find_spec
from pathlib import Path

NOBODY = 65534
# what the package imports, beside itself, on the way to its sandboxes; the second line for the Docker SDK
NEEDED = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions.py", "typing_inspection",
          "docker", "requests", "urllib3", "idna", "certifi", "charset_normalizer")  # fmt: skip
# an ordinary user has no control groups here; the backend's check says what stands in for them
WITHOUT = ("memory", "cpu")
# and one user id for all sandboxes where /etc/subuid gives it none
ONE_USER = ("users",)
DOCKER_SOCKET = Path("/var/run/docker.sock")


def reachable_python() -> str | None:
    """Return an interpreter of this version that every user may run."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for path in (os.path.realpath(sys.executable), f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
        try:
            done = subprocess.run(
                [path, "-I", "-S", "-c", check], user=NOBODY, group=NOBODY, extra_groups=[], check=False, cwd="/"
            )
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


@contextlib.contextmanager
def readable_copy() -> Iterator[Path]:
    """A copy of the package and what it needs where everybody may read it."""
    import harness

    root = Path(tempfile.mkdtemp(prefix="dojo-ordinary-", dir="/tmp"))
    root.chmod(0o755)
    ignore = shutil.ignore_patterns("__pycache__")
    try:
        shutil.copytree(Path(harness.__file__).parent, root / "harness", ignore=ignore)
        shutil.copytree(Path(harness.__file__).parents[1] / "images", root / "images")
        for name in NEEDED:
            spec = find_spec(name.removesuffix(".py"))
            assert spec is not None and spec.origin is not None, name
            if name.endswith(".py"):
                shutil.copy(spec.origin, root / name)
            else:
                shutil.copytree(Path(spec.origin).parent, root / name, ignore=ignore)
        # every sandbox begins with a bare interpreter that imports from here, and nobody writes down what it compiled
        compile_dir(root / "harness" / "sandbox", quiet=2)
        yield root
    finally:
        shutil.rmtree(root)


def docker_group() -> int | None:
    """Return the group that may use the engine's socket; None where no group but root's may, or there is no engine."""
    try:
        state = DOCKER_SOCKET.stat()
        return state.st_gid if state.st_mode & 0o020 and grp.getgrgid(state.st_gid).gr_gid != 0 else None
    except (OSError, KeyError):
        return None


def with_subordinates(root: Path) -> list[str]:
    """Return the beginning of a command that sees /etc/subuid and /etc/subgid which give this user some; only it does."""
    for name, first in (("subuid", 700_000), ("subgid", 800_000)):
        (root / name).write_text(f"{NOBODY}:{first}:65536\n")
    script = f'mount --bind {root}/subuid /etc/subuid && mount --bind {root}/subgid /etc/subgid && exec "$@"'
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    return ["unshare", "--mount", "sh", "-c", script, "sh", *become]


def contract(
    root: Path, python: str, backend: str, *more: str, image: str = "", prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the contract suite on a backend as that user; a member of the engine's group where the backend is docker.

    Args:
        root: what `readable_copy` gave.
        python: an interpreter that the user may run.
        backend: its name.
        more: arguments of the suite.
        image: of its sandboxes.
        prefix: a command that becomes the user by itself, where it has to do something before.
    """
    groups = [group] if backend == "docker" and (group := docker_group()) is not None else []
    env = {
        "PATH": f"{os.environ.get('PATH', '')}:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": str(root),
        **({"DOJO_IMAGE_TASK": image} if image else {}),
    }
    return subprocess.run(
        [*prefix, python, "-B", "-m", "harness.sandbox.contract", backend, *more],
        env=env, cwd="/", capture_output=True, text=True, check=False,
        **({} if prefix else {"user": NOBODY, "group": NOBODY, "extra_groups": groups}),
    )  # fmt: skip
