"""Hostile and honest archives, one row each (THREATS: archive tricks)."""

import io
import os
import tarfile
from dataclasses import replace

import pytest

from harness.grading.submission.leftovers import PATTERNS
from harness.sandbox.base import SandboxSpec
from harness.sandbox.execd.tarballs import LEFT_OUT
from harness.sandbox.scripted import ScriptedSandbox
from harness.session.collect import (
    MB,
    Caps,
    archived,
    collect,
    collect_readable,
    collect_submission,
    manifest_of,
    seal,
    submission_caps,
    unseal_and_remove,
)
from harness.spec.errors import SandboxError, StoreError, SubmissionRefused
from harness.spec.task import Limits

CAPS = Caps(bytes=10_000, files=5, file_bytes=8_000)


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> list[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    raw = out.getvalue()
    return [raw[i : i + 700] for i in range(0, len(raw), 700)]


def file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_an_honest_directory_arrives_whole_with_a_manifest(tmp_path):
    pieces = tar_of(special("sub", tarfile.DIRTYPE), file("sub/a.bin", b"A" * 5000), file("b.json", b"{}"))
    manifest = collect(pieces, tmp_path / "in", CAPS)
    assert [(f.path, f.size) for f in manifest.files] == [("b.json", 2), ("sub/a.bin", 5000)]
    assert (tmp_path / "in/sub/a.bin").read_bytes() == b"A" * 5000
    assert manifest == manifest_of(tmp_path / "in")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([special("a", tarfile.SYMTYPE, "/etc/passwd")], "link"),
        ([file("x"), special("a", tarfile.LNKTYPE, "x")], "link"),
        ([special("a", tarfile.CHRTYPE)], "device"),
        ([special("a", tarfile.FIFOTYPE)], "device"),
        ([file("../a")], "path"),
        ([file("/etc/a")], "path"),
        ([file("a/../../b")], "path"),
        ([file("a\nb")], "path"),
        ([file("a" * 300)], "path"),
        ([file("a"), file("a")], "duplicate"),
        ([file(f"f{i}") for i in range(6)], "too_many_files"),
        ([special(f"d{i}", tarfile.DIRTYPE) for i in range(30)], "too_many_files"),
        ([file("big", b"x" * 9000)], "too_large"),
        ([file("a", b"x" * 7000), file("b", b"x" * 7000)], "too_large"),
        ([], "empty"),
    ],
)
def test_a_hostile_archive_is_refused_by_type_and_leaves_nothing(tmp_path, members, code):
    with pytest.raises(SubmissionRefused) as refused:
        collect(tar_of(*members), tmp_path / "in", CAPS)
    assert refused.value.code == code and refused.value.hint
    assert list(tmp_path.iterdir()) == []


def by_name_alone(name: str, why: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.pax_headers = {LEFT_OUT: why}
    return info, b""


@pytest.mark.parametrize(
    ("why", "code", "said"),
    [
        ("too_large 90000000", "too_large", "of 86 MB goes over the cap"),
        ("sparse 9000", "sparse", "mostly holes: 9000 bytes long"),
        ("too_large nonsense", "too_large", "of 0 MB"),
        ("anything", "too_large", "of 0 MB"),
    ],
)
def test_a_file_that_came_by_name_alone_is_refused_for_what_it_is(tmp_path, why, code, said):
    with pytest.raises(SubmissionRefused, match=said) as refused:
        collect(tar_of(file("a"), by_name_alone("b", why)), tmp_path / "in", CAPS)
    assert refused.value.code == code and list(tmp_path.iterdir()) == []
    assert len(collect_readable(tar_of(by_name_alone("b", why), file("c")), tmp_path / "w", CAPS)) == 1
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["c"]


def test_a_copy_that_takes_longer_than_it_may_is_given_up(tmp_path):
    sandbox = ScriptedSandbox(SandboxSpec("s", Limits()), files={"/workspace/out/a": b"x" * 5000})
    late = replace(CAPS, seconds=-1.0)
    with pytest.raises(SubmissionRefused) as refused:
        collect(archived(sandbox, "out", late), tmp_path / "in", late)
    assert refused.value.code == "too_slow" and list(tmp_path.iterdir()) == []
    assert collect_readable(archived(sandbox, "out", late), tmp_path / "w", late) == ["the rest: it was not copied within -1 s"]
    assert collect(archived(sandbox, "out", CAPS), tmp_path / "in", CAPS).bytes == 5000


def test_what_people_read_is_kept_even_if_the_sandbox_cannot_read_on(tmp_path):
    def pieces():
        yield tar_of(file("report.md", b"ok" * 5000))[0] + b"".join(tar_of(file("report.md", b"ok" * 5000))[1:])[:12_000]
        raise SandboxError("too deep", code="too_deep")

    assert collect_readable(pieces(), tmp_path / "w", replace(CAPS, bytes=20_000, file_bytes=20_000)) == ["the rest: too deep"]
    assert (tmp_path / "w/report.md").is_file()


def test_submissions_may_be_as_large_as_their_disk_and_take_the_longer_the_larger():
    small, large = submission_caps(Limits(disk_mb=4096)), submission_caps(Limits(disk_mb=204_800))
    assert (small.bytes, large.bytes) == (4096 * MB, 40_000 * MB)
    assert 60 < small.seconds < 200 < large.seconds < 1000


def test_a_broken_stream_is_refused(tmp_path):
    with pytest.raises(SubmissionRefused) as refused:
        collect([b"\x01garbage" * 200], tmp_path / "in", CAPS)
    assert refused.value.code == "archive" and not (tmp_path / "in").exists()


def test_a_full_disk_of_the_harness_is_an_infrastructure_error_with_nothing_left(tmp_path, monkeypatch):
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError) as refused:
        collect(tar_of(file("a")), tmp_path / "in", CAPS)
    monkeypatch.setattr(os, "fsync", real)
    assert refused.value.code == "disk_full" and not (tmp_path / "in").exists()


def test_what_people_read_is_kept_even_if_something_hostile_lies_beside_it(tmp_path):
    pieces = tar_of(file("report.md", b"ok"), special("l", tarfile.SYMTYPE, "/etc"), file("big", b"x" * 9000), file("z"))
    left_out = collect_readable(pieces, tmp_path / "w", CAPS)
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == ["report.md", "z"]
    assert len(left_out) == 2 and "link" in left_out[0] and "cap" in left_out[1]


def test_a_sealed_directory_is_read_only_and_can_be_removed_by_the_harness(tmp_path):
    collect(tar_of(file("a/b")), tmp_path / "in", CAPS)
    seal(tmp_path / "in")
    assert all(not p.stat().st_mode & 0o222 for p in (tmp_path / "in").rglob("*"))
    unseal_and_remove(tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_what_training_leaves_beside_a_model_and_folders_are_not_written(tmp_path):
    pieces = tar_of(
        file("adapter_config.json", b"{}"), file("adapter_model.safetensors"), file("optimizer.pt", b"x" * 9000),
        by_name_alone("scheduler.pt", "unwanted 900"), special("checkpoint-5", tarfile.DIRTYPE),
        file("checkpoint-5/optimizer.pt"),
        special("wandb", tarfile.DIRTYPE), special("wandb/latest", tarfile.SYMTYPE, "/etc"), file("training_args.bin"),
    )  # fmt: skip
    manifest, left_out = collect_submission(pieces, tmp_path / "in", CAPS)
    assert [f.path for f in manifest.files] == ["adapter_config.json", "adapter_model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert left_out == ["checkpoint-5/", "optimizer.pt", "scheduler.pt", "training_args.bin", "wandb/"]


@pytest.mark.parametrize(
    ("member", "code"),
    [
        (special("training_args.bin", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (special("latest", tarfile.FIFOTYPE), "device"),
        (file("checkpoint-5/../../a"), "path"),
        (by_name_alone("model.safetensors", "too_large 90000000"), "too_large"),
    ],
)
def test_nothing_hostile_is_passed_over_for_its_name(tmp_path, member, code):
    with pytest.raises(SubmissionRefused) as refused:
        collect_submission(tar_of(file("dojo.json"), member), tmp_path / "in", CAPS)
    assert refused.value.code == code and list(tmp_path.iterdir()) == []


def test_where_only_folders_hold_something_the_refusal_names_them(tmp_path):
    pieces = tar_of(special("policy", tarfile.DIRTYPE), file("policy/adapter_config.json", b"{}"))
    with pytest.raises(SubmissionRefused) as refused:
        collect_submission(pieces, tmp_path / "in", CAPS)
    assert refused.value.code == "empty" and "policy/" in refused.value.hint
    inner = tar_of(file("adapter_config.json", b"{}"))
    assert collect_submission(inner, tmp_path / "in", CAPS)[0].files


def test_the_sandbox_does_not_send_what_is_left_out(tmp_path):
    large = b"x" * 50_000
    files = {"dojo.json": b"{}", "optimizer.pt": large, "runs/a": large}
    sandbox = ScriptedSandbox(SandboxSpec("s", Limits()), files={f"/workspace/out/{name}": data for name, data in files.items()})
    pieces = b"".join(archived(sandbox, "out", CAPS, without=PATTERNS))
    assert len(pieces) < 20_000
    manifest, left_out = collect_submission([pieces], tmp_path / "in", CAPS)
    assert [f.path for f in manifest.files] == ["dojo.json"] and left_out == ["optimizer.pt", "runs/"]
