import pytest

from harness.spec.agent import load_agent_config
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


def test_the_placement_own_has_small_limits_unless_it_says_others(tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text(_HEAD + 'placement = "own"')
    assert load_agent_config(path).limits.memory_mb == 2048
