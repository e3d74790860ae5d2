import sys
from pathlib import Path

import pytest

from harness.sandbox.namespace import NamespaceBackend
from harness.sandbox.registry import backend_names, get_backend
from harness.sandbox.unsafe_local import UnsafeLocalBackend
from harness.spec.errors import MissingError, NotFoundError


def test_the_built_in_backends_are_known() -> None:
    assert {"namespace", "unsafe-local"} <= set(backend_names())
    assert isinstance(get_backend("namespace"), NamespaceBackend)
    assert isinstance(get_backend("unsafe-local"), UnsafeLocalBackend)


def test_an_unknown_name_says_which_was_meant() -> None:
    with pytest.raises(NotFoundError) as raised:
        get_backend("namespaces")
    assert "namespace" in raised.value.hint and raised.value.exit_code == 2


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that offers one backend that works, one that does not, and one under a built-in name."""
    (tmp_path / "someones_backend.py").write_text("class Theirs:\n    name = 'theirs'\n")
    info = tmp_path / "someones-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones\nVersion: 1.0\n")
    offered = {"theirs": "Theirs", "broken": "Gone", "namespace": "Theirs"}
    lines = [f"{name} = someones_backend:{kind}\n" for name, kind in offered.items()]
    (info / "entry_points.txt").write_text("[dojo.sandboxes]\n" + "".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "someones_backend", raising=False)


def test_an_installed_package_adds_a_backend(installed: None) -> None:
    assert "theirs" in backend_names()
    assert get_backend("theirs").name == "theirs"


def test_a_backend_that_cannot_be_loaded_is_named(installed: None) -> None:
    with pytest.raises(MissingError, match="broken"):
        get_backend("broken")


def test_a_built_in_backend_cannot_be_replaced(installed: None) -> None:
    assert isinstance(get_backend("namespace"), NamespaceBackend)
