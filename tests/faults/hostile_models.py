"""Generated submissions for the fuzzer: honest ones in every form, and ones with one or more things wrong, from a seed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.grading import tiny

Weights = dict[str, np.ndarray]
LINEAR = [name.removesuffix(".weight") for name, shape in tiny.shapes().items() if len(shape) == 2 and "embed" not in name]
_DTYPES: dict[str, Callable[[np.ndarray], bytes]] = {
    "F32": lambda values: values.astype("<f4").tobytes(),
    "F16": lambda values: values.astype("<f2").tobytes(),
    "BF16": lambda values: (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes(),
}
_BAD_NUMBERS = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0, -0.0, 1e20)


def hostile_json(rng: random.Random, depth: int = 3) -> Any:
    """Return a value that nobody expects where it stands."""
    plain: list[Callable[[], Any]] = [
        lambda: None, lambda: True, lambda: False, lambda: 0, lambda: -1, lambda: 0.5, lambda: 1e308, lambda: 10**299,
        lambda: -(10**298), lambda: "", lambda: "\ud800", lambda: "\x00", lambda: "x" * 5000, lambda: "../../etc/passwd",
        lambda: "é" * 300, lambda: [], lambda: {}, lambda: nested(rng.choice([10, 200, 900])), lambda: rng.randrange(1 << 60),
        lambda: rng.random() * 10 ** rng.randrange(-300, 300),
    ]  # fmt: skip
    if depth and rng.random() < 0.3:
        parts = [hostile_json(rng, depth - 1) for _ in range(rng.randrange(4))]
        return parts if rng.random() < 0.5 else {str(hostile_json(rng, 0))[:40]: part for part in parts}
    return rng.choice(plain)()


def nested(depth: int) -> list[Any]:
    """Return lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def write_submission(folder: Path, rng: random.Random) -> str:
    """Write a submission into ``folder``, which is made; say what it is."""
    make = rng.choice([_adapter, _adapter, _full, _marker])
    what = make(folder, rng)
    for spoil in rng.sample(_SPOILS, rng.choice([0, 0, 1, 1, 2])):
        what += f" + {spoil(folder, rng)}"
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(0o644)
    return what


def _adapter(folder: Path, rng: random.Random) -> str:
    numbers = np.random.default_rng(rng.randrange(1 << 30))
    rank = rng.choice([1, 2, 4, 4, 8, 32, 64, 512, 513])
    size = rng.choice([1e-4, 0.01, 0.05, 0.05, 0.3, 10.0])
    dora, chosen = rng.random() < 0.25, rng.sample(LINEAR, rng.randrange(1, len(LINEAR) + 1))
    weights: Weights = {}
    for module in chosen:
        out, inner = tiny.shapes()[f"{module}.weight"]
        stem = f"base_model.model.{module}"
        weights[f"{stem}.lora_A.weight"] = numbers.standard_normal((rank, inner)) * size
        weights[f"{stem}.lora_B.weight"] = numbers.standard_normal((out, rank)) * size * rng.choice([0, 1, 1])
        if dora:
            weights[f"{stem}.lora_magnitude_vector"] = np.abs(numbers.standard_normal(out)) * rng.choice([0.0, 1.0, 1.2])
    config = {
        "peft_type": "LORA", "r": rank, "lora_alpha": rng.choice([1, rank, 2 * rank, 1000]), "use_dora": dora, "bias": "none",
        "use_rslora": rng.random() < 0.3, "target_modules": sorted({m.rpartition(".")[2] for m in chosen}),
        "task_type": "CAUSAL_LM",
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    _save(folder / "adapter_model.safetensors", _values(weights, rng), rng)
    return f"adapter of rank {rank}, size {size}{', dora' if dora else ''}"


def _full(folder: Path, rng: random.Random) -> str:
    base, noise = tiny.random_weights(0), tiny.random_weights(rng.randrange(1, 100))
    share = rng.choice([0.0, 0.001, 0.01, 0.1, 0.5, 1.0])
    touched = rng.choice([1.0, 0.5, 0.1])
    weights: Weights = {n: w + share * noise[n] * (w.ndim > 1) if rng.random() < touched else w for n, w in base.items()}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(tiny.CONFIG))
    names = sorted(weights)
    cuts = [names] if rng.random() < 0.7 else [names[::2], names[1::2]]
    weights = _values(weights, rng)
    for number, part in enumerate(cuts):
        name = "model.safetensors" if len(cuts) == 1 else f"model-{number:05d}-of-{len(cuts):05d}.safetensors"
        _save(folder / name, {n: weights[n] for n in part}, rng)
    return f"full weights moved by {share}"


def _marker(folder: Path, rng: random.Random) -> str:
    folder.mkdir(parents=True)
    document = {"dojo": "base"} if rng.random() < 0.5 else hostile_json(rng)
    (folder / "dojo.json").write_text(json.dumps(document))
    return "marker"


def _values(weights: Weights, rng: random.Random) -> Weights:
    """Put a bad number, rows of them, or another shape into a tensor now and then."""
    if rng.random() > 0.3 or not weights:
        return weights
    name = rng.choice(sorted(weights))
    values = np.array(weights[name], dtype=np.float64)
    kind = rng.randrange(3)
    if kind == 0 and values.size:
        values.flat[rng.randrange(values.size)] = rng.choice(_BAD_NUMBERS)
    elif kind == 1:
        values[...] = rng.choice(_BAD_NUMBERS)
    else:
        values = rng.choice([values.T, values.ravel(), values[:0], values[None], np.concatenate([values, values])])
    return weights | {name: values}


def _save(path: Path, weights: Mapping[str, np.ndarray], rng: random.Random) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}} if rng.random() < 0.5 else {}
    data = b""
    for name, values in weights.items():
        dtype = rng.choice(["F32", "F32", "F16", "BF16"])
        with np.errstate(over="ignore"):
            raw = _DTYPES[dtype](np.ascontiguousarray(values))
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


# -- what is spoilt afterwards ------------------------------------------------------------------------------------------------


def _files(folder: Path, end: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(end) and path.is_file() and not path.is_symlink())


def _a_field(folder: Path, rng: random.Random) -> str:
    files = _files(folder, ".json")
    if not files:
        return "nothing"
    path = rng.choice(files)
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return "nothing"
    if not isinstance(document, dict) or not document:
        return "nothing"
    known = [
        *document,
        "rope_parameters",
        "rope_scaling",
        "rank_pattern",
        "alpha_pattern",
        "auto_map",
        "quantization_config",
        "\ud800",
    ]
    field = rng.choice(known)
    value = rng.choice([hostile_json(rng), {rng.choice(LINEAR): hostile_json(rng)}])
    path.write_text(json.dumps(document | {field: value}))
    return f"{path.name}: {field!r}"


def _bytes(folder: Path, rng: random.Random) -> str:
    files = _files(folder, ".safetensors") or _files(folder, ".json")
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 3, 20]) if data else 0):
        data[rng.randrange(min(len(data), rng.choice([8, 400, len(data)])))] = rng.randrange(256)
    path.write_bytes(bytes(data))
    return f"{path.name}: bytes changed"


def _length(folder: Path, rng: random.Random) -> str:
    path = rng.choice(_files(folder, ".safetensors") or _files(folder, ".json"))
    size = rng.choice([0, 7, 8, path.stat().st_size // 2, path.stat().st_size + 8, 1 << 26])
    os.truncate(path, size)
    return f"{path.name}: {size} bytes long"


def _a_file(folder: Path, rng: random.Random) -> str:
    name = rng.choice(
        ["config.json", "tokenizer.json", "generation_config.json", "chat_template.jinja", "README.md", "x.py",
         "training_args.bin", "model.safetensors", "adapter_model.safetensors", "dojo.json", "é\n.json",
         "-rf.json", "a" * 200 + ".json", "x.exe"]
    )  # fmt: skip
    (folder / name).write_text(json.dumps(hostile_json(rng)))
    return f"a file {name!r}"


def _no_file(folder: Path, rng: random.Random) -> str:
    name = f"odd-{rng.randrange(1000)}.json"
    kind = rng.randrange(4)
    if kind == 0:
        # a bait of our own: what spoils files afterwards follows links, and runs as whoever runs the tests
        bait = folder.with_name(f"{folder.name}-bait.json")
        bait.write_text("{}")
        (folder / name).symlink_to(bait)
    elif kind == 1:
        os.mkfifo(folder / name)
    elif kind == 2:
        (folder / name).mkdir()
    else:
        os.link(sorted(folder.iterdir())[0], folder / name)
    return f"{name}, kind {kind}"


_SPOILS: list[Callable[[Path, random.Random], str]] = [_a_field, _a_field, _bytes, _length, _a_file, _no_file]
