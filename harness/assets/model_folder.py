"""Is a folder a model that runs can start from? Looked at file by file; nothing of it is loaded, and no code of it is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.extras import require
from harness.spec.errors import SpecError
from harness.taskkit.building.hub import MODEL_FILES

MANIFEST = "dojo-manifest.json"
"""What dojo writes into a model's folder in the cache: its files with their checksums, its origin and licence."""

INDEX = "model.safetensors.index.json"
# Weights in formats that are programs: reading one runs what its author wrote.
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_NO_TEMPLATE = "graders ask in the model's own chat template: take the instruction-tuned version, or add chat_template.jinja"


def model_files(folder: Path) -> list[Path]:
    """Return the files of a model's folder that make a base model, after a look at each that can refuse it.

    They are configuration, tokenizer, licence and the safetensors weights that the model loads; code, pickled weights and second
    copies of the weights (``consolidated.safetensors``) stay behind.

    Raises:
        SpecError: it is no whole model, or one that cannot be used without running its author's code. Codes
            ``pickled_weights``, ``remote_code``, ``no_chat_template`` name the reasons that people may want to tell apart.
        MissingError: transformers is not installed, which knows what it can load by itself.
    """
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise SpecError(f"{folder} is an adapter, no model", hint="merge it into its base model and save the whole model")
        raise SpecError(f"{folder} is no model directory: it has no config.json", hint="give a Hugging Face directory")
    weights = _weights(folder)
    _check_code(folder, _read(folder / "config.json"))
    _check_tokenizer(folder)
    others = {path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    return sorted([*weights, *(path for path in others if _is_own(path))])


def licence_of(folder: Path) -> str:
    """Return the licence that the front matter of a folder's README.md names; empty where it names none."""
    try:
        lines = (folder / "README.md").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    if not lines or lines[0].strip() != "---":
        return ""
    for line in lines[1:]:
        if line.strip() == "---":
            break
        name, _, value = line.partition(":")
        if name == "license":
            return value.strip().strip("\"'")
    return ""


def count_parameters(path: Path) -> int:
    """Number of weights in the directory's safetensors files, read from their headers alone.

    Raises:
        SpecError: there is no safetensors file, or one is damaged or cut off.
    """
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise SpecError(f"{path} holds no *.safetensors", hint="give a Hugging Face directory with safetensors weights")
    return sum(_elements(file) for file in files)


def _elements(file: Path) -> int:
    """Count the weights of one file."""
    again, length = "fetch it again", file.stat().st_size
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > length:
            raise SpecError(f"{file} is damaged: its header is longer than the file", hint=again)
        header = stream.read(size)
    total = end = 0
    try:
        for key, tensor in json.loads(header).items():
            if key != "__metadata__":
                count = 1
                for dimension in tensor["shape"]:
                    count *= int(dimension)
                total += count
                end = max(end, int(tensor["data_offsets"][1]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as exc:
        raise SpecError(f"{file} is damaged: its header is no header of safetensors", hint=again) from exc
    if 8 + size + end > length:
        raise SpecError(f"{file} is cut off: {length} bytes of {8 + size + end}", hint=again)
    return total


def _is_own(path: Path) -> bool:
    return path.suffix != ".safetensors" and path.name != MANIFEST and not path.name.startswith(".")


def _weights(folder: Path) -> list[Path]:
    """Return the safetensors files that the model loads."""
    found = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if not found and pickled:
        raise SpecError(
            f"{folder} has its weights as pickles alone ({pickled[0]}), which are programs and are never loaded",
            hint="save it with save_pretrained(..., safe_serialization=True) where you trust it, and add that folder",
            code="pickled_weights",
        )
    if not found:
        raise SpecError(f"{folder} holds no *.safetensors", hint="give a Hugging Face directory with safetensors weights")
    if (folder / INDEX).is_file():
        shards = _read(folder / INDEX).get("weight_map")
        names = sorted(set(shards.values())) if isinstance(shards, dict) else []
        missing = [str(name) for name in names if folder / str(name) not in found]
        if missing or not names:
            raise SpecError(
                f"{folder}: {INDEX} names {missing[0] if missing else 'no file'}, which is not there", hint="fetch it"
            )
        found = [folder / str(name) for name in names]
    elif (folder / "model.safetensors") in found:
        found = [folder / "model.safetensors"]
    for file in found:
        _elements(file)
    return found


def _check_code(folder: Path, config: dict[str, Any]) -> None:
    """Refuse a model that transformers can only load by running code that came with it."""
    require("transformers")
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    kind = config.get("model_type")
    if kind in CONFIG_MAPPING_NAMES:
        return
    if "auto_map" in config:
        raise SpecError(
            f"{folder} needs code of its author's to be loaded (model_type {kind!r}), and dojo runs none",
            hint="take a model that the installed transformers knows by itself",
            code="remote_code",
        )
    raise SpecError(f"{folder}: transformers knows no model_type {kind!r}", hint="a newer transformers may know it")


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise SpecError(f"{folder} has no tokenizer ({', '.join(_TOKENIZERS)})", hint="save the tokenizer into the same folder")
    told = _read(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    if not told.get("chat_template") and not (folder / "chat_template.jinja").is_file():
        raise SpecError(f"{folder} has no chat template", hint=_NO_TEMPLATE, code="no_chat_template")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as exc:
        raise SpecError(f"{path} is no JSON: {exc}", hint="fetch it again") from exc
    if not isinstance(found, dict):
        raise SpecError(f"{path} is no JSON object", hint="fetch it again")
    return found
