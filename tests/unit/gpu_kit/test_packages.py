"""What is packed: what the run needs and the machine lacks, in the versions that are tested here."""

import importlib.util
import tomllib
from pathlib import Path

import pytest
from gpu_kit import packages
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
needs_training = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in packages.THERE),
    reason="the packages that train models are not installed",
)


@needs_training
def test_cudas_torch_and_what_only_it_needs_stay_where_they_are() -> None:
    packed = packages.lacking(PROJECT["dependencies"], "3.12", [])
    assert not packed.keys() & {*packages.THERE, "tokenizers", "safetensors", "sympy"}
    assert packed.keys() >= {*packages.ROOTS, *(Requirement(line).name for line in PROJECT["dependencies"])}
    assert packed["click"] and "pydantic-core" in packed


@needs_training
def test_what_the_machine_is_known_to_have_is_left_out_with_what_it_needs() -> None:
    packed = packages.lacking(PROJECT["dependencies"], "3.12", ["SciPy", "scikit_learn", "hypothesis"])
    assert not packed.keys() & {"scipy", "scikit-learn", "hypothesis", "sortedcontainers", "threadpoolctl"}


def test_markers_are_read_for_that_machines_python() -> None:
    assert packages._applies(Requirement("x; python_version < '3.12'"), "3.11", ())
    assert not packages._applies(Requirement("x; python_version < '3.12'"), "3.12", ())
    assert not packages._applies(Requirement("x; sys_platform == 'win32'"), "3.12", ())
    assert packages._applies(Requirement("x; extra == 'all'"), "3.12", ("all",))
    assert not packages._applies(Requirement("x; extra == 'all'"), "3.12", ())


def test_a_package_that_is_not_installed_here_is_named() -> None:
    with pytest.raises(LookupError, match="no-such-package-anywhere"):
        packages.closure(["no-such-package-anywhere"], "3.12")
