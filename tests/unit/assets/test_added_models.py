"""Base models that users add: what is taken of a folder, what is refused, and how runs find it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.assets.added_models import add_model, list_models, verify_models
from harness.assets.base_models import find_base_model, require_known, source_of
from harness.spec.errors import MissingError, NotFoundError, SpecError, UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def weights(path: Path, name: str = "w", elements: int = 6) -> None:
    """Write a safetensors file with one row of numbers."""
    end = 4 * elements
    header = json.dumps({name: {"dtype": "F32", "shape": [elements], "data_offsets": [0, end]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * end)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small whole model as people keep one: sharded, with a licence, code, and pickled and second copies of its weights."""
    path = tmp_path / "My Models" / "Tiny-Llama"
    (path / "original").mkdir(parents=True)
    (path / "config.json").write_text('{"model_type": "llama", "auto_map": {"AutoModel": "modeling_x.X"}}')
    (path / "tokenizer.json").write_text("{}")
    (path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    (path / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\nlicense: of no account here\n")
    weights(path / "model-00001-of-00002.safetensors", "a", 6)
    weights(path / "model-00002-of-00002.safetensors", "b", 4)
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    weights(path / "consolidated.safetensors", "all", 10)
    (path / "pytorch_model.bin").write_bytes(b"a pickle")
    (path / "modeling_x.py").write_text("raise SystemExit('this ran')\n")
    (path / "original" / "params.json").write_text("{}")
    return path


def test_a_folder_is_copied_without_code_pickles_and_second_copies_and_found_by_its_name(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = add_model(str(folder), cache)
    assert (made.name, made.licence, made.parameters) == ("tiny-llama", "mit", 10)
    assert sorted(path.name for path in made.path.iterdir()) == [
        "config.json",
        "dojo-manifest.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert find_base_model("tiny-llama", cache) == made
    require_known("tiny-llama", cache)
    assert source_of("tiny-llama", cache) is None  # nothing can be fetched of it
    listed = {model.name: model for model in list_models(cache)}
    assert (listed["tiny-llama"].added, listed["tiny-llama"].origin) == (True, "folder Tiny-Llama")
    assert (listed["smol"].added, listed["smol"].state) == (False, "to be fetched")
    assert str(folder.parent) not in (made.path / "dojo-manifest.json").read_text()  # no path of this machine


def test_a_model_that_was_added_is_added_once_and_its_name_is_nobody_else_s(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = add_model(str(folder), cache)
    assert add_model(str(folder), cache, name="tiny-llama") == first
    weights(folder / "model-00002-of-00002.safetensors", "b", 5)
    with pytest.raises(UsageError, match="another model is called tiny-llama"):
        add_model(str(folder), cache)
    assert add_model(str(folder), cache, name="other").digest != first.digest
    for name, why in [("smol", "dojo's own"), ("../x", "no name"), (".hidden", "no name")]:
        with pytest.raises(UsageError, match=why):
            add_model(str(folder), cache, name=name)


def remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _no_safetensors(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()


def _unknown_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "its-own", "auto_map": {"AutoModel": "modeling_x.X"}}')


def _cut_off(folder: Path) -> None:
    with (folder / "model-00002-of-00002.safetensors").open("r+b") as stream:
        stream.truncate(stream.seek(0, 2) - 2)


def _no_header(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").write_bytes(struct.pack("<Q", 4) + b"[1,]")


def _adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (_no_safetensors, "pickled_weights", "as pickles alone"),
        (_unknown_kind, "remote_code", "code of its author's"),
        (remove("tokenizer_config.json"), "no_chat_template", "no chat template"),
        (remove("tokenizer.json"), "spec", "no tokenizer"),
        (remove("model-00002-of-00002.safetensors"), "spec", "names model-00002-of-00002.safetensors"),
        (_cut_off, "spec", "cut off"),
        (_no_header, "spec", "no header of safetensors"),
        (_adapter, "spec", "is an adapter"),
    ],
)
def test_what_cannot_be_a_base_model_is_refused_with_its_reason_and_leaves_nothing(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], code: str, said: str
) -> None:
    spoil(folder)
    with pytest.raises(SpecError, match=said) as caught:
        add_model(str(folder), tmp_path / "cache")
    assert caught.value.code == code and caught.value.hint
    assert not list((tmp_path / "cache").glob("models/*"))


def test_a_licence_must_be_known(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").unlink()
    with pytest.raises(UsageError, match="under which licence") as caught:
        add_model(str(folder), tmp_path / "cache")
    assert "--license" in caught.value.hint
    assert add_model(str(folder), tmp_path / "cache", licence="our own").licence == "our own"


def test_verify_finds_a_changed_byte_and_a_file_that_was_put_beside(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = add_model(str(folder), cache)
    assert verify_models(cache) == [("tiny-llama", [])]
    file = made.path / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    weights(made.path / "more.safetensors")
    [(_, problems)] = verify_models(cache, "tiny-llama")
    assert problems == [f"{file.name} is not what it was", "more.safetensors was not there when it was added"]
    with pytest.raises(MissingError, match="no base model tiny is in the cache"):
        verify_models(cache, "tiny")


def test_a_hub_id_comes_from_the_mirror_pinned_and_with_its_licence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored = tmp_path / "mirror" / "models" / "Some" / "Tiny-Llama"
    mirrored.parent.mkdir(parents=True)
    folder.rename(mirrored)
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    cache = tmp_path / "cache"
    made = add_model("Some/Tiny-Llama", cache, revision=COMMIT)
    assert (made.licence, made.parameters) == ("mit", 10)
    assert not (made.path / "consolidated.safetensors").exists() and not (made.path / "modeling_x.py").exists()
    listed = next(model for model in list_models(cache) if model.added)
    assert (listed.origin, listed.revision) == ("Some/Tiny-Llama", COMMIT)
    assert add_model("Some/Tiny-Llama", cache, revision=COMMIT).digest == made.digest
    with pytest.raises(UsageError, match="another model is called tiny-llama"):
        add_model("Some/Tiny-Llama", cache, revision=COMMIT[::-1])
    with pytest.raises(MissingError, match="the mirror has no models/Some/Other"):
        add_model("Some/Other", cache, licence="mit")


def test_without_a_network_the_error_says_how_to_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("DOJO_HUB_MIRROR", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match="the hub did not say what Some/Model is") as caught:
        add_model("Some/Model", tmp_path)
    assert "dojo models add FOLDER" in caught.value.hint and "DOJO_HUB_MIRROR" in caught.value.hint
    with pytest.raises(MissingError, match="Some/Model could not be fetched"):
        add_model("Some/Model", tmp_path, revision=COMMIT, licence="mit")
    assert not (tmp_path / "models" / "model").exists()


def test_a_hub_id_that_was_not_added_says_how_to_add_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no model directory") as caught:
        require_known("Qwen/Qwen2.5-0.5B-Instruct", tmp_path)
    assert "dojo models add ORG/NAME" in caught.value.hint


@pytest.mark.parametrize("source", ["no-such", "a/b/c", "./gone", "/gone/for/good", ""])
def test_what_is_neither_a_folder_nor_a_hub_id_is_wrong_usage(source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        add_model(source, tmp_path, licence="mit")


def test_a_revision_is_a_commit_and_a_folder_has_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no commit"):
        add_model("Some/Model", tmp_path, revision="main")
    with pytest.raises(UsageError, match="digest pins it"):
        add_model(str(folder), tmp_path, revision=COMMIT)


def test_what_was_added_can_be_read_by_sandboxes_users(folder: Path, tmp_path: Path) -> None:
    made = add_model(str(folder), tmp_path / "cache")
    assert all(path.stat().st_mode & 0o004 for path in made.path.iterdir())
