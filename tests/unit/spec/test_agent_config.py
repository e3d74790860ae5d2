import pytest

from harness.spec.agent import OWN_LIMITS, AgentConfig, AgentInstall, load_agent_config, shares
from harness.spec.errors import SpecError, UsageError
from harness.spec.task import Limits

_HEAD = 'name = "mine"\ncommand = ["true"]\n'


@pytest.mark.parametrize("more", ['image = "openhands"', "[limits]\ncpus = 2"])
def test_image_and_limits_are_those_of_a_sandbox_of_its_own(tmp_path, more):
    path = tmp_path / "agent.toml"
    path.write_text(_HEAD + more)
    with pytest.raises(SpecError, match=f"{path}: image and limits are those of a sandbox of its own") as caught:
        load_agent_config(path)
    assert 'placement = "own"' in caught.value.hint
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
    assert load_agent_config(path).limits.memory_mb == 1024
    assert config_of(tmp_path, 'placement = "own"\n[limits]\nmemory_mb = 512').limits == OWN_LIMITS.model_copy(
        update={"memory_mb": 512}
    )


def config_of(tmp_path, more):
    path = tmp_path / "agent.toml"
    path.write_text(_HEAD + more)
    return load_agent_config(path)


def test_two_sandboxes_share_what_a_task_gives_one(tmp_path):
    limits = Limits(cpus=1, memory_mb=6000, disk_mb=4096, pids=512, gpus=1)
    assert shares(limits, config_of(tmp_path, "")) == {"task": limits}
    both = shares(limits, config_of(tmp_path, 'placement = "own"'))
    assert both["agent"] == OWN_LIMITS and both["agent"].gpus == 0
    assert both["task"] == Limits(cpus=0.75, memory_mb=4976, disk_mb=3840, pids=448, gpus=1)


@pytest.mark.parametrize("name", ["cpus = 1", "memory_mb = 6000", "disk_mb = 4090", "pids = 510"])
def test_a_sandbox_of_its_own_that_leaves_the_tasks_nothing_is_refused(tmp_path, name):
    greedy = config_of(tmp_path, f'placement = "own"\n[limits]\n{name}')
    with pytest.raises(UsageError, match=f"of the .* {name.split()[0]} that the task gives"):
        shares(Limits(cpus=1, memory_mb=6000, disk_mb=4096, pids=512), greedy)


def test_a_sandbox_of_its_own_has_no_gpu(tmp_path):
    with pytest.raises(SpecError, match="GPUs are the task sandbox's"):
        config_of(tmp_path, 'placement = "own"\n[limits]\ngpus = 1')


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[env]\nX = "a\\u0000b"', "NUL"),
        ('[env]\n"A=B" = "x"', "no = in it"),
        ('[env]\n"" = "x"', "not empty"),
        (f'[env]\nX = "{"x" * 100_000}"', "more than 100000 bytes"),
        (f'[params]\nx = "{"x" * 100_000}"', "more than 100000 bytes"),
    ],
)
def test_what_no_process_can_be_started_with_is_refused_before_a_run_is_planned(tmp_path, more, message):
    path = tmp_path / "agent.toml"
    path.write_text(_HEAD + more)
    with pytest.raises(SpecError, match=message):
        load_agent_config(path)


def test_a_record_of_a_time_with_other_defaults_is_read(tmp_path):
    """Every field is in it, and what a sandbox of an agent's own has by default was more once."""
    record = config_of(tmp_path, "").model_dump() | {
        "limits": Limits(cpus=1.0, memory_mb=2048, pids=256, disk_mb=1024).model_dump()
    }
    assert AgentConfig.model_validate(record).placement == "task"
