"""The backend `namespace` as an ordinary user: the same promises, for a user who is nobody on this host."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
# what the package imports, beside itself, on the way to its sandboxes
NEEDED = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions.py", "typing_inspection")
# an ordinary user has no control groups here; the backend's check says what stands in for them
WITHOUT = ("memory", "cpu")


def reachable_python() -> str | None:
    """An interpreter of this version that every user may run."""
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


@pytest.fixture
def world() -> Iterator[Path]:
    """A copy of the package and what it needs where everybody may read it."""
    from importlib.util import find_spec

    import harness

    root = Path("/tmp") / f"dojo-ordinary-{os.getpid()}"
    root.mkdir(mode=0o755)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(harness.__file__).parent, root / "harness", ignore=ignore)
    for name in NEEDED:
        spec = find_spec(name.removesuffix(".py"))
        assert spec is not None and spec.origin is not None, name
        if name.endswith(".py"):
            shutil.copy(spec.origin, root / name)
        else:
            shutil.copytree(Path(spec.origin).parent, root / name, ignore=ignore)
    yield root
    shutil.rmtree(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole contract suite runs as this ordinary user already")
def test_the_namespace_backend_keeps_its_promises_for_an_ordinary_user(world: Path) -> None:
    python = reachable_python()
    if python is None:
        pytest.skip(f"no Python {sys.version_info[:2]} here that another user may run")
    command = [python, "-B", "-m", "harness.sandbox.contract", "namespace"]
    for group in WITHOUT:
        command += ["--without", group]
    env = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(world)}
    done = subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=[], env=env, cwd="/", capture_output=True, text=True, check=False
    )
    if "this host cannot isolate a sandbox" in done.stdout + done.stderr:
        pytest.skip("ordinary users have no namespaces on this host")
    broken = [line for line in done.stdout.splitlines() if "BROKEN" in line]
    assert done.returncode == 0 and not broken, "\n".join(broken) + done.stderr[-2000:]
    assert " 0 broken" in done.stdout.splitlines()[-1]


def test_a_host_that_cannot_isolate_is_refused_with_the_remedy(world: Path) -> None:
    """Inside a sandbox nobody may make namespaces: a host that allows none."""
    from harness.sandbox.base import Mount, SandboxSpec
    from harness.sandbox.namespace import NamespaceBackend
    from harness.spec.task import Limits

    python = reachable_python() or sys.executable
    program = """
import sys
sys.path.insert(0, "/world")
from harness.sandbox.namespace import NamespaceBackend
from harness.sandbox.base import SandboxSpec
from harness.spec.errors import IsolationUnavailable
from harness.spec.task import Limits
backend = NamespaceBackend()
check = backend.check()[0]
print(check.ok, "unsafe-local" in check.hint)
try:
    backend.create(SandboxSpec("never", Limits()))
except IsolationUnavailable as exc:
    print(exc.exit_code, "cannot isolate" in exc.message, "user namespaces" in exc.hint, "unsafe-local" in exc.hint)
print(backend.list())
"""
    spec = SandboxSpec(f"refuses-{os.getpid()}", Limits(), mounts=(Mount(world, "/world"),))
    sandbox = NamespaceBackend().create(spec)
    try:
        result = sandbox.exec([python, "-B", "-c", program], timeout_s=120)
    finally:
        sandbox.close()
    assert result.stdout == b"False True\n3 True True True\n[]\n", result
