"""Which GPUs are here and may be claimed, over trees of many kinds; the last test looks at this very host."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.sandbox.nvidia.driver import HOST, look, require_usable, usable
from harness.spec.errors import DojoError, MissingError
from tests.unit.sandbox.nvidia.trees import Tree, mig, uuid

HOSTS: dict[str, tuple[list[int], list[int]]] = {
    "no GPU": ([], []),
    "one": ([0], [0]),
    "eight": (list(range(8)), list(range(8))),
    "holes, as where a container is shown some": ([3, 6, 10], [3, 6, 10]),
}


@pytest.mark.parametrize("host", HOSTS)
def test_gpus_are_those_with_a_node(tmp_path: Path, host: str) -> None:
    minors, found = HOSTS[host]
    assert [gpu.minor for gpu in look(Tree(tmp_path, minors).tree).gpus] == found


def test_they_are_counted_in_the_order_of_the_bus_as_nvidia_smi_counts(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0, 1, 2], buses=[0xC1, 0x03, 0x41])
    assert [(gpu.index, gpu.minor) for gpu in look(host.tree).gpus] == [(0, 1), (1, 2), (2, 0)]
    assert [gpu.minor for gpu in usable(host.tree, {"CUDA_VISIBLE_DEVICES": "0"})] == [1]


def test_a_node_that_is_not_the_drivers_is_passed_over_and_named(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    host.node("nvidia1", 195, 0)
    host.node("nvidia2", 10, 2)
    (host.dev / "nvidia3").write_text("a file")
    found = look(host.tree)
    assert [gpu.minor for gpu in found.gpus] == [0]
    assert {Path(path).name for path in found.passed_over} == {"nvidia1", "nvidia2", "nvidia3"}
    with pytest.raises(MissingError, match=r"this host shows 1 \(.*nvidia1: device 195:0, where the driver's would be 195:1"):
        require_usable(2, host.tree, {})


def test_of_a_gpu_in_mig_mode_each_instance_counts(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0, 1])
    host.cut(0, [1, 5])
    found = look(host.tree).gpus
    assert [(gpu.name, gpu.mig, gpu.caps) for gpu in found] == [
        (mig(0, 1), (1, 0), (10, 11)),
        (mig(0, 5), (5, 0), (50, 51)),
        ("1", None, ()),
    ]


def test_an_instance_that_nvidia_smi_does_not_name_is_an_error_that_says_so(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    host.cut(0, [1])
    (host.root / "listed").write_text("GPU 0: NVIDIA H200\n")
    with pytest.raises(MissingError, match="instance 1/0 of /dev/nvidia0 has no name") as raised:
        look(host.tree)
    assert "nvidia-smi -L" in raised.value.hint


CHOICES: dict[str | None, list[int]] = {
    None: [0, 1, 3],
    "": [],
    "-1": [],
    "NoDevFiles": [],
    "0": [0],
    "2,0": [0, 3],  # by place, where the third has number 3
    "1,1": [1],
    uuid(3): [3],
    uuid(1)[:12]: [1],
    f"{uuid(3)}, 0": [0, 3],
}


@pytest.mark.parametrize(("given", "minors"), [("3", [3]), ("0,3", [0, 3]), ("1-3", [1, 3]), ("", [0])])
def test_in_a_job_of_slurm_they_are_those_that_it_was_given_however_cuda_counts_them(
    tmp_path: Path, given: str, minors: list[int]
) -> None:
    environ = {"SLURM_JOB_GPUS": given, "CUDA_VISIBLE_DEVICES": "0"}
    assert [gpu.minor for gpu in usable(Tree(tmp_path, [0, 1, 3]).tree, environ)] == minors


@pytest.mark.parametrize("said", CHOICES)
def test_cuda_visible_devices_of_the_harness_is_honoured(tmp_path: Path, said: str | None) -> None:
    environ = {} if said is None else {"CUDA_VISIBLE_DEVICES": said}
    assert [gpu.minor for gpu in usable(Tree(tmp_path, [0, 1, 3]).tree, environ)] == CHOICES[said]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("7", "no such GPU is here"),
        ("0,GPU-ffff", "no such GPU is here"),
        ("first", "no such GPU is here"),
        ("GPU-0000000", "could be"),
        ("MIG-00000000", "no such GPU is here"),
    ],
)
def test_what_it_names_and_is_not_here_is_an_error_and_not_passed_over(tmp_path: Path, said: str, message: str) -> None:
    with pytest.raises(MissingError, match=message) as raised:
        usable(Tree(tmp_path, [0, 1]).tree, {"CUDA_VISIBLE_DEVICES": said})
    assert raised.value.hint


def test_instances_are_named_by_uuid_or_in_the_older_way(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    host.cut(0, [1, 5])
    for said in (mig(0, 5), f"MIG-{uuid(0)}/5/0"):
        assert [gpu.mig for gpu in usable(host.tree, {"CUDA_VISIBLE_DEVICES": said})] == [(5, 0)]
    for said in ("0", uuid(0)):
        with pytest.raises(MissingError, match="a GPU in MIG mode") as raised:
            usable(host.tree, {"CUDA_VISIBLE_DEVICES": said})
        assert mig(0, 1) in raised.value.hint


def _without_nodes(host: Tree) -> None:
    for path in host.dev.glob("nvidia*"):
        path.unlink()


def _nothing(host: Tree) -> None:
    pass


@pytest.mark.parametrize(
    ("gpus", "change", "environ", "message", "hint"),
    [
        ([], _nothing, {}, "no NVIDIA driver is loaded", "install the driver"),
        ([0], _without_nodes, {}, "driver is loaded and .*nvidia0 is not there", "nvidia-modprobe -c 0 -u"),
        ([0, 1], _nothing, {"CUDA_VISIBLE_DEVICES": "1"}, "CUDA_VISIBLE_DEVICES='1' leaves 1 of 2", "more of them"),
        ([0], _nothing, {}, "this host shows 1", "dojo doctor gpu"),
    ],
)
def test_too_few_says_what_is_in_the_way(
    tmp_path: Path, gpus: list[int], change: Callable[[Tree], None], environ: dict[str, str], message: str, hint: str
) -> None:
    host = Tree(tmp_path, gpus)
    change(host)
    with pytest.raises(MissingError, match=message) as raised:
        require_usable(2, host.tree, environ)
    assert hint in raised.value.hint


def test_this_hosts_gpus_are_the_ones_nvidia_smi_lists() -> None:
    if not list(HOST.dev.glob("nvidia[0-9]*")):
        pytest.skip("no NVIDIA GPU on this host")
    try:
        listed = HOST.smi.status()
    except DojoError as exc:
        pytest.skip(f"nvidia-smi: {exc.message}")
    found = {gpu.index: gpu.uuid for gpu in look(HOST).gpus}
    assert set(found) == {status.index for status in listed}
    assert all(not found[status.index] or found[status.index] == status.uuid for status in listed)
