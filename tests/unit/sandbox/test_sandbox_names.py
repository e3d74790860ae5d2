"""`harness.sandbox` offers its names without loading anything before they are used."""

import subprocess
import sys

import pytest

import harness.sandbox


@pytest.mark.parametrize("name", harness.sandbox.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(harness.sandbox, name).__name__ == name and name in dir(harness.sandbox)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Sandboxes"):
        _ = harness.sandbox.Sandboxes


def test_importing_the_package_loads_nothing_else() -> None:
    program = "import sys, harness.sandbox; print([m for m in sys.modules if m.startswith(('harness.', 'pydantic', 'docker'))])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['harness.sandbox']"


def test_no_name_needs_the_docker_package() -> None:
    program = "import sys, harness.sandbox as s; [getattr(s, n) for n in s.__all__]; print('docker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
