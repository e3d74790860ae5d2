"""Attacks with hostile models, given to the check that `validate` and the grader share (rows 2, 9, 19)."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.small_model import (
    ADAPTER,
    CONFIG,
    LAYER,
    adapter_weights,
    header_of,
    random_weights,
    write_adapter,
    write_full,
    write_safetensors,
)
from harness.grading.submission.check import check_submission

Make = Callable[[Path], object]
BASE_SEED = 0


class _RunsWhenLoaded:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (str(self._path),)


def base_model(ground: Ground) -> Path:
    """Return the folder of a small base model."""
    return write_full(ground.folder() / "base", random_weights(BASE_SEED))


def each_refused(ground: Ground, hostile: dict[str, tuple[set[str], Make]]) -> str:
    """Have each of ``hostile`` (what it is → codes of which one must be given, how it is made) refused.

    Raises:
        NotStopped: one was taken, or refused for another reason.
    """
    base, folder = base_model(ground), ground.folder()
    for number, (what, (codes, make)) in enumerate(hostile.items()):
        target = folder / str(number)
        make(target)
        report = check_submission(target, base)
        found = {problem.code for problem in report.problems}
        if report.ok:
            raise NotStopped(f"{what} was taken as {report.kind}")
        stopped(bool(codes & found), f"{what}: refused as {sorted(found)}, not as {sorted(codes)}")
    return f"refused, each with its code: {'; '.join(hostile)}"


def _taken(ground: Ground, make: Make) -> str:
    target = ground.folder() / "honest"
    make(target)
    report = check_submission(target, base_model(ground))
    stopped(not report.ok, f"an honest {report.kind} is taken on the same way")
    return f"refused: {report.problems}"


def honest_full(ground: Ground) -> str:
    """Hand in full weights that lie as near to the base as training leaves them."""
    return _taken(ground, lambda p: write_full(p, _moved(0.01)))


def honest_adapter(ground: Ground) -> str:
    """Hand in an adapter that nothing is wrong with."""
    return _taken(ground, lambda p: write_adapter(p, adapter_weights()))


def _moved(share: float) -> dict[str, Any]:
    """The base's weights, moved by a share of their size as training does."""
    other = random_weights(7)
    return {
        name: (values + share * (other[name] if values.ndim > 1 else 0)).astype("float32")
        for name, values in random_weights(BASE_SEED).items()
    }


# -- row 2 --------------------------------------------------------------------------------------------------------------


def _other_models(ground: Ground) -> str:
    import numpy as np

    def shuffled(path: Path) -> Path:
        rng = np.random.default_rng(1)
        return write_full(
            path, {name: rng.permutation(v.ravel()).reshape(v.shape) for name, v in random_weights(BASE_SEED).items()}
        )

    def mixed(path: Path) -> Path:
        base, other = random_weights(BASE_SEED), random_weights(1)
        return write_full(path, {name: (0.4 * v + 0.6 * other[name]).astype("float32") for name, v in base.items()})

    def scaled(path: Path) -> Path:
        return write_full(path, {name: v * np.float32(10) for name, v in random_weights(BASE_SEED).items()})

    def larger(path: Path) -> Path:
        weights = {**random_weights(BASE_SEED), "model.layers.2.mlp.up_proj.weight": np.ones((48, 32), np.float32)}
        return write_full(path, weights)

    return each_refused(
        ground,
        {
            "another model of the same shape": ({"not_a_finetune"}, lambda p: write_full(p, random_weights(1))),
            "the base's values in another order": ({"not_a_finetune"}, shuffled),
            "a mixture with more of another model than of the base": ({"not_a_finetune"}, mixed),
            "the base ten times as large": ({"not_a_finetune"}, scaled),
            "a further layer": ({"wrong_architecture", "unknown_tensor", "extra_tensors"}, larger),
            "an adapter for another width": ({"wrong_shape"}, lambda p: write_adapter(p, adapter_weights(width=64))),
            "an adapter that starts from changed base weights": (
                {"adapter_changes_base"}, lambda p: write_adapter(p, adapter_weights(), {"init_lora_weights": "pissa"}),
            ),
        },
    )  # fmt: skip


def _instruct_sibling(ground: Ground) -> str:
    """A model that was trained from the base by somebody else lies as near to it as one trained here."""
    base, target = base_model(ground), write_full(ground.folder() / "sibling", _moved(0.2))
    report = check_submission(target, base)
    note = next((n for n in report.notes if "distance" in n), "")
    stopped(not report.ok, f"a sibling at the distance of an instruction tuning was taken ({note})")
    return f"refused: {report.problems[0].message}"


def _other_models_about(ground: Ground) -> str:
    """No other model's weights are to be found in a sandbox with the base model's mount."""
    from harness.sandbox.base import Mount
    from harness.sandbox.contract.promise import PATIENCE_S

    base = base_model(ground)
    names = " -o ".join(f"-name '*.{end}'" for end in ("safetensors", "gguf", "bin.index.json", "pth", "onnx"))
    search = f"find / -path /proc -prune -o -path /sys -prune -o \\( {names} \\) -size +1k -print 2>/dev/null; true"
    with ground.stage.new(mounts=[Mount(base, "/models/base")]) as sandbox:
        found = sandbox.exec(["sh", "-c", search], timeout_s=4 * PATIENCE_S).stdout.decode().split()
    stopped(found == ["/models/base/model.safetensors"], f"other weights lie about: {found}")
    return "the base model's are the only weights in the sandbox"


# -- row 9 --------------------------------------------------------------------------------------------------------------


def _swaps(ground: Ground) -> str:
    def full(**config: Any) -> Make:
        return lambda path: write_full(path, random_weights(BASE_SEED), config)

    refused = each_refused(
        ground,
        {
            "another architecture's name": ({"wrong_architecture"}, full(architectures=["MistralForCausalLM"])),
            "another model type": ({"wrong_architecture"}, full(model_type="mistral")),
            "another number of layers": ({"wrong_architecture"}, full(num_hidden_layers=1)),
            "other positions": ({"wrong_architecture"}, full(rope_parameters={"rope_theta": 1e6, "rope_type": "default"})),
            "another activation": ({"wrong_architecture"}, full(hidden_act="gelu")),
            "another normalisation": ({"wrong_architecture"}, full(rms_norm_eps=1e-2)),
            "an untied output layer": ({"wrong_architecture"}, full(tie_word_embeddings=False)),
            "quantised weights": ({"quantised"}, full(quantization_config={"quant_method": "bitsandbytes"})),
            "an adapter that saves whole modules": (
                {"adapter_unsupported"}, lambda p: write_adapter(p, adapter_weights(), {"modules_to_save": ["lm_head"]}),
            ),
            "an adapter of another kind": (
                {"adapter_type"}, lambda p: write_adapter(p, adapter_weights(), {"peft_type": "PROMPT_TUNING"}),
            ),
        },
    )  # fmt: skip
    ignored = write_full(ground.folder() / "ignored", random_weights(BASE_SEED))
    planted = {
        "chat_template.jinja": "{{ '\\\\boxed{even}' }}", "generation_config.json": '{"temperature": 9, "max_new_tokens": 9999}',
        "tokenizer.json": "{}", "tokenizer_config.json": '{"chat_template": "{{ 1 }}", "auto_map": {"AutoTokenizer": "evil.py"}}',
        "special_tokens_map.json": '{"eos_token": "a"}',
    }  # fmt: skip
    for name, text in planted.items():
        (ignored / name).write_text(text)
    report = check_submission(ignored, base_model(ground))
    said = [name for name in planted if any(note.startswith(f"{name} ignored") for note in report.notes)]
    stopped(
        report.ok and said == list(planted), f"template, tokenizer or generation settings were not said to be ignored: {report}"
    )
    return f"{refused}; ignored and said so: {', '.join(planted)}"


# -- row 19 -------------------------------------------------------------------------------------------------------------


def _pickles(ground: Ground) -> str:
    """Pickles under every name that a loader would take them by; loading one would make a folder."""
    made = ground.folder() / "made-by-the-pickle"
    data = pickle.dumps(_RunsWhenLoaded(made))

    def named(name: str, beside: str = "{}") -> Make:
        def make(path: Path) -> None:
            write_full(path, random_weights(BASE_SEED))
            (path / name).write_bytes(data)

        return make

    names = (
        "pytorch_model.bin",
        "adapter_model.bin",
        "pytorch_model-00001-of-00001.bin",
        "model.pt",
        "model.pth",
        "consolidated.ckpt",
        "x.pkl",
        "x.npy",
    )
    hostile: dict[str, tuple[set[str], Make]] = {name: ({"pickle"}, named(name)) for name in names}
    hostile |= {name: ({"code"}, named(name)) for name in ("modeling_evil.py", "evil.so", "setup.sh")}
    hostile |= {
        "a pickle called model.safetensors": ({"bad_header"}, named("model.safetensors")),
        "a name nobody asked for": ({"unexpected_file"}, named("payload.exe")),
        "auto_map in config.json": (
            {"code"}, lambda p: write_full(p, random_weights(BASE_SEED), {"auto_map": {"AutoModel": "modeling_evil.Evil"}}),
        ),
        "trust_remote_code in config.json": (
            {"code"}, lambda p: write_full(p, random_weights(BASE_SEED), {"trust_remote_code": True}),
        ),
    }  # fmt: skip
    said = each_refused(ground, hostile)
    beside = ground.folder() / "beside"
    named("training_args.bin")(beside)
    report = check_submission(beside, base_model(ground))
    stopped(any("training_args.bin" in note for note in report.notes), f"training_args.bin was not said to be left out: {report}")
    stopped(not made.exists(), "a pickle was loaded: its code ran on the host")
    return f"{said}; training_args.bin beside a model was left out and never read"


def _pickle_loaded(ground: Ground) -> str:
    """What loads a pickle runs it; the folder it makes is in the attack's own."""
    made = ground.folder() / "made-by-the-pickle"
    pickle.loads(pickle.dumps(_RunsWhenLoaded(made)))
    stopped(not made.exists(), "the pickle's code ran when it was loaded")
    return "nothing ran"


def _headers(ground: Ground) -> str:
    entries, data = header_of(random_weights(BASE_SEED))
    name, first = next(iter(entries.items()))

    def header(change: Callable[[dict[str, Any]], object]) -> Make:
        def make(path: Path) -> None:
            path.mkdir()
            (path / "config.json").write_text(json.dumps(CONFIG))
            write_safetensors(path / "model.safetensors", change(json.loads(json.dumps(entries))), data)

        return make

    def entry(**fields: Any) -> Make:
        return header(lambda found: found | {name: first | fields})

    def claims(length: int) -> Make:
        def make(path: Path) -> None:
            path.mkdir()
            (path / "config.json").write_text(json.dumps(CONFIG))
            (path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")

        return make

    def adapter_json(text: str) -> Make:
        def make(path: Path) -> None:
            write_adapter(path, adapter_weights())
            (path / "adapter_config.json").write_text(text)

        return make

    bad = {"bad_header", "bad_bounds", "bad_dtype"}
    return each_refused(
        ground,
        {
            "a header longer than the file": (bad, claims(1 << 62)),
            "a header of nothing": (bad, claims(0)),
            "offsets behind the end": (bad, entry(data_offsets=[0, 1 << 40])),
            "negative offsets": (bad, entry(data_offsets=[-8, 0])),
            "offsets that overlap another tensor": (bad, entry(data_offsets=[4, first["data_offsets"][1] + 4])),
            "a shape that overflows": (bad, entry(shape=[1 << 39, 1 << 39])),
            "a dtype of its own": (bad, entry(dtype="OBJECT")),
            "a tensor twice in the header": (bad, header(lambda e: json.dumps(e)[:-1].encode() + b', "a": 1, "a": 2}')),
            "a header nested without end": (bad, header(lambda e: b"[" * 100_000)),
            "metadata that is no text": (bad, header(lambda e: e | {"__metadata__": {"format": {"a": 1}}})),
            "a config with a key twice": ({"bad_config"}, adapter_json('{"peft_type": "LORA", "peft_type": "LORA"}')),
            "a config with NaN": ({"bad_config"}, adapter_json(json.dumps(ADAPTER | {"lora_alpha": float("nan")}))),
            "a pattern that is no plain name": (
                {"bad_config"}, adapter_json(json.dumps(ADAPTER | {"rank_pattern": {"(a+)+$": 4}})),
            ),
            "an adapter on what is no linear layer": (
                {"unknown_module"}, lambda p: write_adapter(p, adapter_weights(layer="__class__.__init__")),
            ),
            "an adapter of rank 0": ({"bad_config"}, lambda p: write_adapter(p, adapter_weights(), {"r": 0})),
            "NaN in the weights": ({"not_finite"}, lambda p: write_adapter(p, _with_nan())),
        },
    )  # fmt: skip


def _with_nan() -> dict[str, Any]:
    weights = adapter_weights(layer=LAYER)
    next(iter(weights.values()))[0, 0] = float("nan")
    return weights


ATTACKS = (
    Attack(
        2, "hands-in-another-model", Where.ARTEFACT,
        "hand in another model's weights of the same shape, the base's shuffled, scaled or mixed, other widths, changed bases",
        "names, shapes and the distance to the base of every matrix",
        _other_models, honest_full,
    ),
    Attack(
        2, "hands-in-a-sibling", Where.ARTEFACT,
        "hand in a model that somebody else trained from the same base, as an instruct model",
        "the distance to known siblings",
        _instruct_sibling, honest_full, "comparing submissions with known siblings of the base model",
    ),
    Attack(
        2, "looks-for-other-models", Where.SANDBOX,
        "look for other models' weights in every folder of the sandbox",
        "the base model's folder is all that is mounted",
        _other_models_about,
    ),
    Attack(
        9, "swaps-what-the-grader-owns", Where.ARTEFACT,
        "change architecture name, layers, positions, activation, tying, quantisation; plant template, tokenizer and settings",
        "what computes something else is refused, the rest is the base model's and is said to be ignored",
        _swaps, honest_full,
    ),
    Attack(
        19, "hands-in-code", Where.ARTEFACT,
        "hand in pickles under eight names, Python and shared objects, a pickle called safetensors, remote code by config",
        "files are judged by kind before anything is opened; no loader of pickles or code exists",
        _pickles, _pickle_loaded,
    ),
    Attack(
        19, "hands-in-hostile-headers", Where.ARTEFACT,
        "lie about lengths, offsets, shapes and types in safetensors headers; put traps into adapter configs and names",
        "every claim of a header is checked against the file, every name against the base model",
        _headers, honest_adapter,
    ),
)  # fmt: skip
