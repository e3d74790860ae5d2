"""What a sandbox is shown of its GPUs: those nodes and no other, the driver's files, its words, the variables."""

from pathlib import Path

import pytest

from harness.sandbox.base import SandboxSpec
from harness.sandbox.namespace import NamespaceBackend
from harness.sandbox.nvidia.driver import HOST, DriverTree, usable
from harness.sandbox.nvidia.given import Given, environment, give
from harness.sandbox.nvidia.libraries import find, read_cache
from harness.spec.errors import DojoError, MissingError
from harness.spec.task import Limits
from tests.unit.sandbox.nvidia.trees import Tree, mig, uuid

SHARED = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]


def given(tree: DriverTree, said: str) -> Given:
    return give(usable(tree, {"CUDA_VISIBLE_DEVICES": said}), tree)


@pytest.mark.parametrize(
    ("minors", "said", "nodes"),
    [
        ([0], "0", ["/dev/nvidia0"]),
        (range(8), "5", ["/dev/nvidia5"]),
        (range(8), "1,6", ["/dev/nvidia1", "/dev/nvidia6"]),
        ([3, 10], "1", ["/dev/nvidia10"]),
    ],
)
def test_it_is_shown_its_gpus_and_what_all_need(tmp_path: Path, minors: list[int], said: str, nodes: list[str]) -> None:
    host = Tree(tmp_path, minors)
    shown = given(host.tree, said).nodes
    assert [inside for _, inside in shown] == [*SHARED, *nodes]
    assert [Path(source) for source, _ in shown] == [host.dev / inside.removeprefix("/dev/") for _, inside in shown]


def test_an_instance_comes_with_the_nodes_that_open_it_and_with_no_others(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0, 1])
    host.cut(0, [1, 5])
    found = given(host.tree, mig(0, 5))
    caps = ["/dev/nvidia-caps/nvidia-cap50", "/dev/nvidia-caps/nvidia-cap51"]
    assert [inside for _, inside in found.nodes] == [*SHARED, "/dev/nvidia0", *caps]
    assert found.env["CUDA_VISIBLE_DEVICES"] == found.env["NVIDIA_VISIBLE_DEVICES"] == mig(0, 5)
    assert found.proc["nvidia-caps/mig-minors"] == "gpu0/gi5/access 50\ngpu0/gi5/ci0/access 51\n"
    assert [name for name in found.proc if "capabilities" in name] == [
        "nvidia/capabilities/gpu0/mig/gi5/access",
        "nvidia/capabilities/gpu0/mig/gi5/ci0/access",
    ]


def test_two_instances_of_one_gpu_show_its_node_once(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    host.cut(0, [1, 5])
    inside = [node for _, node in give(usable(host.tree, {}), host.tree).nodes]
    assert inside.count("/dev/nvidia0") == 1 and len(inside) == 3 + 1 + 4


def test_nothing_is_shown_without_gpus(tmp_path: Path) -> None:
    assert give((), Tree(tmp_path, []).tree) == Given()


def test_the_driver_tells_inside_of_the_gpus_given_alone_and_makes_no_nodes(tmp_path: Path) -> None:
    found = given(Tree(tmp_path, [0, 1]).tree, "1").proc
    assert [name for name in found if "/gpus/" in name] == ["nvidia/gpus/0000:02:00.0/information"]
    assert "ModifyDeviceFiles: 0" in found["nvidia/params"] and "version" in found["nvidia/version"]


def test_the_variables_count_from_0_inside_and_name_by_uuid_outside(tmp_path: Path) -> None:
    gpus = usable(Tree(tmp_path, [0, 1, 2]).tree, {"CUDA_VISIBLE_DEVICES": "1,2"})
    names = f"{uuid(1)},{uuid(2)}"
    inside, outside = environment(gpus), environment(gpus, by_id=True)
    assert (inside["CUDA_VISIBLE_DEVICES"], outside["CUDA_VISIBLE_DEVICES"]) == ("0,1", names)
    assert inside["NVIDIA_VISIBLE_DEVICES"] == names
    assert environment((), by_id=True)["CUDA_VISIBLE_DEVICES"] == ""


def test_without_uvm_tools_it_works_all_the_same(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    (host.dev / "nvidia-uvm-tools").unlink()
    assert "/dev/nvidia-uvm-tools" not in [inside for _, inside in given(host.tree, "0").nodes]


@pytest.mark.parametrize(
    ("missing", "message", "hint"),
    [
        ("nvidiactl", "no GPU works without it", "--gpus all"),
        ("nvidia-uvm", "nvidia-uvm is not loaded", "nvidia-modprobe -u"),
        ("nvidia-caps/nvidia-cap10", "which opens MIG-00000000-0001", "nvidia-modprobe -f"),
    ],
)
def test_a_node_that_is_missing_is_named_with_its_remedy(tmp_path: Path, missing: str, message: str, hint: str) -> None:
    host = Tree(tmp_path, [0])
    host.cut(0, [1])
    (host.dev / missing).unlink()
    with pytest.raises(MissingError, match=message) as raised:
        give(usable(host.tree, {}), host.tree)
    assert hint in raised.value.hint


def test_a_driver_without_its_library_is_named_with_its_remedy(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    (host.libraries / "libcuda.so.1").unlink()
    with pytest.raises(MissingError, match=r"libcuda\.so\.1 is nowhere") as raised:
        given(host.tree, "0")
    assert "NVIDIA_DRIVER_CAPABILITIES" in raised.value.hint


def test_the_drivers_files_are_shown_and_none_beside_them(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    found = given(host.tree, "0")
    assert sorted(path.name for path in found.files) == [
        "libcuda.so.1", "libcuda.so.570.86", "libnvidia-gpucomp.so.570.86", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1",
        "nvidia-smi",
    ]  # fmt: skip
    assert found.env["LD_LIBRARY_PATH"] == str(host.libraries), "the loader's cache does not name them here"
    assert found.program_folder == host.programs


def test_where_the_loaders_cache_names_libcuda_the_loader_is_told_nothing(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    host.cache()
    elsewhere = DriverTree(host.dev, host.proc, host.tree.loader_cache, (), (), host.tree.numbers, host.smi)
    found = given(elsewhere, "0")
    assert "LD_LIBRARY_PATH" not in found.env and host.libraries / "libcuda.so.1" in found.files
    assert found.program_folder is None


def test_a_cache_that_is_none_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"musl has none")
    assert read_cache(tmp_path / "cache") == read_cache(tmp_path / "absent") == {}
    assert find(tmp_path / "cache", (), ()).folder is None


def test_this_hosts_cache_reads_as_the_loader_uses_it() -> None:
    if not HOST.loader_cache.exists():
        pytest.skip("no loader's cache on this host")
    named = read_cache(HOST.loader_cache)
    assert Path(named["libc.so.6"]).exists()


def test_a_real_sandbox_sees_the_gpu_it_was_given() -> None:
    """On a host with a GPU alone: nvidia-smi inside lists one, and /dev holds the nodes that were given."""
    try:
        gpus = usable()
        shown = give(gpus[:1])
    except DojoError as exc:
        pytest.skip(exc.message)
    if not gpus:
        pytest.skip("no NVIDIA GPU on this host")
    sandbox = NamespaceBackend().create(SandboxSpec("gpu-given", Limits(gpus=1, memory_mb=1024)))
    try:
        listed = sandbox.exec(["sh", "-c", "cd /dev; ls -d nvidia[0-9]*; nvidia-smi -L"], timeout_s=60)
    finally:
        sandbox.close()
    assert listed.exit_code == 0, listed.stderr
    assert listed.stdout.decode().count("GPU ") == 1 and len(shown.nodes) >= 3
