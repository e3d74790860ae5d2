from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest

from harness.assets import base_models
from harness.assets.base_models import (
    find_base_model,
    known_base_models,
    prepare_base_model,
    read_base_model,
    write_manifest,
)
from harness.assets.model_folder import MANIFEST, count_parameters
from harness.spec.errors import MissingError, NotFoundError, SpecError


def model_dir(path: Path) -> Path:
    """A Hugging Face directory with one tensor of 6 weights."""
    path.mkdir(parents=True)
    (path / "config.json").write_text('{"model_type": "llama"}')
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    ).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 24)
    return path


def test_a_local_directory_is_a_base_model(tmp_path: Path) -> None:
    path = model_dir(tmp_path / "mine")
    model = prepare_base_model(str(path), tmp_path / "cache")
    assert (model.name, model.path, model.parameters) == ("mine", path, 6)
    assert find_base_model(str(path), tmp_path / "cache").digest == model.digest


def test_the_digest_tells_a_changed_weight(tmp_path: Path) -> None:
    path = model_dir(tmp_path / "mine")
    before = find_base_model(str(path), tmp_path).digest
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert find_base_model(str(path), tmp_path).digest != before


def test_an_unknown_name_says_which_is_near(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        prepare_base_model("smoll", tmp_path)
    assert caught.value.hint == "did you mean smol?"
    assert {"smol", "qwen2.5-7b", "qwen2.5-3b"} <= set(known_base_models())


def test_a_directory_that_is_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"config\.json"):
        find_base_model(str(tmp_path), tmp_path)


def test_a_model_that_is_not_in_the_cache_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingError) as caught:
        find_base_model("smol", tmp_path)
    assert "dojo data prepare" in caught.value.hint


def test_a_prepared_model_is_taken_from_the_cache_and_a_cut_off_one_is_noticed(tmp_path: Path) -> None:
    path = model_dir(tmp_path / "models" / "smol")
    write_manifest(path, "smol", "Apache-2.0", {"package": "test"})
    manifest = json.loads((path / MANIFEST).read_text())
    model = prepare_base_model("smol", tmp_path)
    assert (model.path, model.digest, model.licence) == (path, manifest["digest"], "Apache-2.0")
    assert {f["path"] for f in manifest["files"]} == {"config.json", "model.safetensors"}
    with (path / "model.safetensors").open("r+b") as stream:
        stream.truncate(40)
    with pytest.raises(MissingError, match="cut off"):
        read_base_model("smol", path)


def test_weights_with_a_damaged_header_or_none_at_all_are_refused(tmp_path: Path) -> None:
    path = model_dir(tmp_path / "mine")
    (path / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(SpecError, match="damaged"):
        count_parameters(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(SpecError, match=r"no \*\.safetensors"):
        count_parameters(path)


def test_a_hub_model_comes_from_the_mirror_with_its_pinned_commit_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored = model_dir(tmp_path / "mirror" / "models" / "Qwen" / "Qwen2.5-3B-Instruct")
    (mirrored / "pytorch_model.bin").write_bytes(b"a pickle, left behind")
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    model = prepare_base_model("qwen2.5-3b", tmp_path / "cache")
    assert sorted(p.name for p in model.path.iterdir()) == ["config.json", MANIFEST, "model.safetensors"]
    origin = json.loads((model.path / MANIFEST).read_text())["origin"]
    assert origin["hub"] == "Qwen/Qwen2.5-3B-Instruct" and len(origin["revision"]) == 40


def test_a_conversion_that_fails_says_why_and_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    junk = tmp_path / "packages" / f"{base_models.SMOL.package.name}-{base_models.SMOL.package.version}" / base_models.SMOL.file
    junk.parent.mkdir(parents=True)
    junk.write_bytes(b"no gguf")
    with pytest.raises(MissingError, match="not the pinned file"):
        prepare_base_model("smol", tmp_path)
    assert not (tmp_path / "models" / "smol").exists()


@pytest.mark.slow
def test_the_packaged_model_becomes_a_directory_that_answers(tmp_path_factory: pytest.TempPathFactory) -> None:
    import os

    cache = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo")
    model = prepare_base_model("smol", cache)
    assert model.parameters == 134_515_008
    assert all(p.stat().st_mode & 0o004 for p in model.path.iterdir())
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.path)
    network = AutoModelForCausalLM.from_pretrained(model.path)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    out = network.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(out[0, prompt["input_ids"].shape[1] :])


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_conversion_is_not_told_whether_the_harness_is_offline_for_it_would_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: str
) -> None:
    told: list[str] = []

    def run(argv: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        told.append(env["HF_HUB_OFFLINE"])
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(base_models.subprocess, "run", run)
    base_models._convert(tmp_path / "model.gguf", tmp_path / "made")
    assert told == ["0"]
