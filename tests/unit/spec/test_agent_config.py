import pytest

from harness.spec.agent import AgentInstall, load_agent_config
from harness.spec.errors import SpecError

_HEAD = 'name = "mine"\ncommand = ["true"]\n'


@pytest.mark.parametrize("more", ['image = "openhands"', "[limits]\ncpus = 2"])
def test_image_and_limits_are_those_of_a_sandbox_of_its_own(tmp_path, more):
    path = tmp_path / "agent.toml"
    path.write_text(_HEAD + more)
    with pytest.raises(SpecError, match="placement"):
        load_agent_config(path)
    path.write_text(_HEAD + 'placement = "own"\n' + more)
    assert load_agent_config(path).placement == "own"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[install]", "nothing to install"),
        ('[install]\npython = "locks/requirements.lock"', "is no file name"),
        ('[install]\nnpm = "yarn.lock"', "package-lock.json"),
        ('[install]\npython = "requirements.lock"\npython_version = "3.12"', "not of the form >=3.12"),
        ('[install]\npip = "requirements.lock"', "pip"),
    ],
)
def test_an_install_that_cannot_be_made_is_refused_with_the_remedy(tmp_path, more, message):
    path = tmp_path / "agent.toml"
    path.write_text(_HEAD + more)
    with pytest.raises(SpecError, match=message):
        load_agent_config(path)


@pytest.mark.parametrize(
    ("wanted", "admitted", "refused"),
    [
        (">=3.12", [(3, 12), (3, 13), (4, 0)], [(3, 11)]),
        (">=3.11, <3.13", [(3, 11), (3, 12)], [(3, 10), (3, 13)]),
        ("==3.12", [(3, 12)], [(3, 11), (3, 13)]),
        (">3.11,<=3.13", [(3, 12), (3, 13)], [(3, 11), (3, 14)]),
    ],
)
def test_a_lock_says_which_pythons_it_is_for(wanted, admitted, refused):
    install = AgentInstall(python="requirements.lock", python_version=wanted)
    assert all(install.admits(*version) for version in admitted)
    assert not any(install.admits(*version) for version in refused)


def test_the_placement_own_has_small_limits_unless_it_says_others(tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text(_HEAD + 'placement = "own"')
    assert load_agent_config(path).limits.memory_mb == 2048
