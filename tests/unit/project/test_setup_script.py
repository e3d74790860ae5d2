"""`make setup`: what it refuses, which build of torch it takes, and that it never stops for want of one.

The installs are played by programs that write down what they were asked; `tests/install` installs for real.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
SCRIPTS = sorted([*(REPO / "scripts").glob("*.sh"), REPO / ".ci" / "run"])
WANTS_CUDA = REPO / "scripts" / "wants_cuda.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(REPO / name, tmp_path)
    shutil.copytree(REPO / "scripts", tmp_path / "scripts")
    shutil.copytree(REPO / "harness" / "wheels", tmp_path / "harness" / "wheels")
    (tmp_path / "harness" / "__init__.py").touch()
    return tmp_path


def setup(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "scripts" / "setup.sh"],
        env={**os.environ, "SKIP_ASSETS": "1", **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_executable_stops_at_errors_and_parses(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert "\nset -euo pipefail\n" in script.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", script], capture_output=True).stderr == b""


def test_a_python_that_is_none_is_refused_by_name(checkout: Path) -> None:
    result = setup(checkout, PYTHON="/nowhere/python")
    assert result.returncode == 3
    assert "PYTHON=/nowhere/python is no Python 3.11 or newer" in result.stderr
    assert not (checkout / ".venv").exists()


def test_setup_does_nothing_where_it_was_done_with_the_same_files(checkout: Path) -> None:
    bin_dir = checkout / ".venv" / "bin"
    bin_dir.mkdir(parents=True)
    (bin_dir / "dojo").write_text("#!/bin/sh\n", encoding="utf-8")
    (bin_dir / "dojo").chmod(0o755)
    # The same sum that the script takes: the folder's name and the files that decide what is installed.
    stamp = "(pwd; cat pyproject.toml constraints.txt scripts/setup.sh) | sha256sum | cut -d' ' -f1"
    done = subprocess.run(["bash", "-c", stamp], cwd=checkout, capture_output=True, text=True, check=True).stdout
    (checkout / ".venv" / ".dojo-setup").write_text(done, encoding="utf-8")

    result = setup(checkout, PYTHON="/nowhere/python")
    assert (result.returncode, result.stderr) == (0, "")

    with (checkout / "constraints.txt").open("a", encoding="utf-8") as pins:
        pins.write("# changed\n")
    assert setup(checkout, PYTHON="/nowhere/python").returncode == 3


# Plays .venv/bin/python: writes pip's calls down, answers the question for torch's build, fails where told; the rest is Python's.
FAKE_PYTHON = """#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
case "$*" in
  "-c import pip") exit 0 ;;
  "-m pip "*--dry-run*) cp "$TORCH_REPORT" build/torch.json ;;
  "-m pip "*uv)
    echo "pip brings uv" >>"$CALLS"
    [ "${NO_UV_ANYWHERE:-}" != 1 ] || exit 1
    mkdir -p build/uv/bin && cp "$FAKE_UV" build/uv/bin/uv ;;
  "-m pip "*) echo "$*" | sed "s/^-m //" >>"$CALLS"; touch "$here/dojo"; chmod +x "$here/dojo" ;;
  *) exec "$REAL_PYTHON" "$@" ;;
esac
"""
FAKE_UV = """#!/bin/sh
echo "uv $*" >>"$CALLS"
env | grep ^UV_ | sort >>"$CALLS.env"
case "$*" in *--torch-backend=cpu*) exit "${CPU_BUILD_FAILS:-0}" ;; esac
touch .venv/bin/dojo; chmod +x .venv/bin/dojo
"""


@dataclass
class Played:
    """A setup whose installs are played; ``calls`` are what it asked for, in order."""

    checkout: Path
    place: Path

    def run(self, *, cuda: bool, uv: bool, gpu: bool = False, **settings: str) -> tuple[list[str], str]:
        requires = ["nvidia-cublas"] if cuda else ["sympy"]
        report = self.place / "torch.json"
        report.write_text(json.dumps({"install": [{"metadata": {"name": "torch", "requires_dist": requires}}]}))
        programs = {"sh", "bash", "env", "sed", "cat", "cp", "mkdir", "touch", "chmod", "cut", "sha256sum", "dirname", "grep"}
        programs |= {"sort", "printf", "rm", "uname", "id"}
        tools = self.place / "tools"
        for name in programs:
            if not (tools / name).exists():
                (tools / name).symlink_to(str(shutil.which(name)))
        for name, there, text in (("uv", uv, FAKE_UV), ("nvidia-smi", gpu, "#!/bin/sh\n"), ("mkfs.ext4", True, "#!/bin/sh\n")):
            if there:
                program(tools / name, text)
        program(self.place / "fake-uv", FAKE_UV)
        program(self.checkout / ".venv" / "bin" / "python", FAKE_PYTHON)
        done = subprocess.run(
            [self.checkout / "scripts" / "setup.sh"],
            env={
                "PATH": str(tools),
                "HOME": str(self.place),
                "PIP_CONFIG_FILE": os.devnull,
                "SKIP_ASSETS": "1",
                "CALLS": str(self.place / "calls"),
                "TORCH_REPORT": str(report),
                "FAKE_UV": str(self.place / "fake-uv"),
                "REAL_PYTHON": sys.executable,
                **settings,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        calls = (self.place / "calls").read_text().splitlines()
        assert calls.pop(0) == "pip install --quiet --upgrade pip"
        return calls, done.stderr


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def played(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    place = tmp_path_factory.mktemp("setup")
    (place / "tools").mkdir()
    return Played(checkout, place)


EVERYTHING = "-c constraints.txt -e .[ml,analysis,docker,k8s,postgres,s3,dev]"
TORCH = next(line for line in (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))


def test_a_build_without_cuda_that_pip_finds_is_taken_whatever_uv_would_take(played: Played) -> None:
    calls, _ = played.run(cuda=False, uv=True)
    assert calls == [f"pip install {TORCH}", f"uv pip install --python .venv/bin/python {EVERYTHING}"]


def test_pip_alone_does_all_of_it_too(played: Played) -> None:
    calls, _ = played.run(cuda=False, uv=False)
    assert calls == [f"pip install {TORCH}", f"pip install --progress-bar off {EVERYTHING}"]
    calls, _ = Played(played.checkout, played.place).run(cuda=False, uv=True, NO_UV="1", SKIP_ASSETS="1")
    assert not [call for call in calls if call.startswith("uv")]


def test_where_pip_would_take_cuda_uv_fetches_the_cpu_build(played: Played) -> None:
    calls, said = played.run(cuda=True, uv=True)
    assert calls[0] == f"uv pip install --quiet --python .venv/bin/python --torch-backend=cpu {TORCH}"
    assert f"pip install {TORCH}" not in calls and "GB" not in said


def test_without_uv_pip_brings_it_for_this_one_step(played: Played) -> None:
    calls, _ = played.run(cuda=True, uv=False)
    assert calls[0] == "pip brings uv" and "--torch-backend=cpu" in calls[1]
    assert calls[2:] == [f"pip install --progress-bar off {EVERYTHING}"]


@pytest.mark.parametrize("settings", [{"CPU_BUILD_FAILS": "1"}, {"NO_UV_ANYWHERE": "1"}])
def test_where_no_cpu_build_is_to_be_had_the_default_one_is_taken_with_a_line_about_its_size(
    played: Played, settings: dict[str, str]
) -> None:
    calls, said = played.run(cuda=True, uv="CPU_BUILD_FAILS" in settings, **settings)
    assert f"pip install {TORCH}" in calls
    assert len([line for line in said.splitlines() if "about 5 GB" in line]) == 1


@pytest.mark.parametrize(("gpu", "settings"), [(True, {}), (False, {"TORCH_ALLOW_CUDA": "1"})])
def test_with_a_gpu_or_when_told_so_the_default_build_is_taken_at_once(
    played: Played, gpu: bool, settings: dict[str, str]
) -> None:
    calls, said = played.run(cuda=True, uv=True, gpu=gpu, **settings)
    assert calls[0] == f"pip install {TORCH}" and "GB" not in said


def test_the_users_own_arguments_for_torch_are_all_that_counts(played: Played) -> None:
    calls, _ = played.run(cuda=True, uv=True, TORCH_PIP_ARGS="--index-url https://a.example/cpu")
    assert calls[0] == f"pip install --index-url https://a.example/cpu {TORCH}"


def test_uv_is_told_where_pip_looks(played: Played) -> None:
    played.run(
        cuda=False,
        uv=True,
        PIP_FIND_LINKS="/wheels /more",
        PIP_INDEX_URL="https://a.example/simple",
        PIP_EXTRA_INDEX_URL="https://b.example/simple",
    )
    told = (played.place / "calls.env").read_text().splitlines()
    assert told == [
        "UV_DEFAULT_INDEX=https://a.example/simple",
        "UV_FIND_LINKS=/wheels,/more",
        "UV_INDEX=https://b.example/simple",
        "UV_INDEX_STRATEGY=unsafe-best-match",
    ]


def test_an_index_that_pip_is_forbidden_is_not_asked_by_uv(played: Played) -> None:
    calls, _ = played.run(cuda=False, uv=True, PIP_NO_INDEX="1", PIP_FIND_LINKS="/wheels")
    assert calls == [f"pip install {TORCH}", f"pip install --progress-bar off {EVERYTHING}"]


@pytest.mark.parametrize(
    ("requires", "cuda"),
    [
        (["filelock", "sympy>=1.13.3"], False),
        (["filelock", f'nvidia-cublas==13.1; platform_system == "{os.uname().sysname}"'], True),
        (['nvidia-cublas==13.1; platform_system == "Plan9"'], False),
        (["cuda-toolkit[cublas]==13.0"], True),
        (['nvidia-cublas; extra == "cuda"'], False),
    ],
)
def test_a_cuda_build_of_torch_is_told_by_what_it_requires_here(tmp_path: Path, requires: list[str], cuda: bool) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"install": [{"metadata": {"name": "torch", "requires_dist": requires}}]}), encoding="utf-8")
    assert subprocess.run([sys.executable, WANTS_CUDA, report]).returncode == (0 if cuda else 1)


def test_the_torch_that_is_installed_here_is_the_pinned_one() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: the core works without it")
    from importlib.metadata import version

    pinned = next(
        line for line in (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines() if line.startswith("torch==")
    )
    assert version("torch").split("+")[0] == pinned.removeprefix("torch==")
