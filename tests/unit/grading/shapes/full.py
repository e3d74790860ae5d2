"""Full weights that are taken, and the base model itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.unit.grading.shapes.bench import Bench, edit, rewrite, save_tensors
from tests.unit.grading.shapes.shape import Make, Shape

FILE = "model.safetensors"


def saved(tied: bool = False, **options: Any) -> Make:
    def make(bench: Bench, folder: Path) -> Any:
        model = bench.trained(tied)
        model.save_pretrained(folder, **options)
        return bench.logits(model)

    return make


def in_dtype(name: str) -> Make:
    def make(bench: Bench, folder: Path) -> None:
        import torch

        bench.trained().to(getattr(torch, name)).save_pretrained(folder)

    return make


def merged(tied: bool = False, **config: Any) -> Make:
    def make(bench: Bench, folder: Path) -> None:
        bench.lora(tied, **config).merge_and_unload().save_pretrained(folder)

    return make


def state_dict(change: Any, tied: bool = False) -> Make:
    """A state dict under other names, with the base's config beside it."""

    def make(bench: Bench, folder: Path) -> Any:
        model = bench.trained(tied)
        save_tensors({change(name): tensor for name, tensor in model.state_dict().items()}, folder / FILE)
        bench.copy_config(folder, tied)
        return bench.logits(model)

    return make


def head_alone(bench: Bench, folder: Path) -> Any:
    from safetensors import safe_open
    from safetensors.torch import save_model

    model = bench.trained(tied=True)
    folder.mkdir(exist_ok=True)
    save_model(model, str(folder / FILE))
    bench.copy_config(folder, tied=True)
    with safe_open(folder / FILE, "pt") as file:
        assert "lm_head.weight" in file.keys() and "model.embed_tokens.weight" not in file.keys()  # noqa: SIM118
    return bench.logits(model)


def body_alone(bench: Bench, folder: Path) -> Any:
    model = bench.trained(tied=True)
    model.model.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaModel"]
    return bench.logits(model)


def of_class(*names: str) -> Make:
    def make(bench: Bench, folder: Path) -> Any:
        found = saved()(bench, folder)
        edit(folder / "config.json", architectures=list(names) or None)
        return found

    return make


def older_config(bench: Bench, folder: Path) -> Any:
    found = saved()(bench, folder)
    config = json.loads((folder / "config.json").read_text())
    rope = config.pop("rope_parameters")
    del config["dtype"]
    new = {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": None,
        "torch_dtype": "float32",
        "use_cache": False,
        "pad_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config | new))
    return found


def old_shards_beside(bench: Bench, folder: Path) -> Any:
    bench.model().save_pretrained(folder, max_shard_size="40KB")
    old = {path.name: path.read_bytes() for path in folder.glob("*.safetensors*")}
    found = saved()(bench, folder)
    for name, data in old.items():
        (folder / name).write_bytes(data)
    return found


def old_shard_beside(bench: Bench, folder: Path) -> Any:
    found = saved(max_shard_size="40KB")(bench, folder)
    save_tensors(dict(list(bench.model().state_dict().items())[:2]), folder / "model-00009-of-00009.safetensors")
    return found


def copied_base(bench: Bench, folder: Path) -> Any:
    shutil.copytree(bench.paths[False], folder, dirs_exist_ok=True)
    for name in ("LICENSE", "README.md", ".gitattributes", "USE_POLICY.md"):
        (folder / name).write_text("of the base model")
    return saved()(bench, folder)


def unchanged(bench: Bench, folder: Path) -> Any:
    bench.model().save_pretrained(folder)


def marker(bench: Bench, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "dojo.json").write_text('{"dojo": "base"}')
    return bench.logits(bench.model())


def by_accelerate(bench: Bench, folder: Path) -> Any:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(bench.trained())
    accelerator.unwrap_model(model).save_pretrained(folder, state_dict=accelerator.get_state_dict(model))
    return bench.logits(model)


def by_accelerate_alone(bench: Bench, folder: Path) -> Any:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(bench.trained(tied=True))
    accelerator.save_model(model, folder)
    bench.copy_config(folder, tied=True)
    return bench.logits(model)


def checkpointed(bench: Bench, folder: Path) -> Any:
    return state_dict(lambda name: name.replace("self_attn", "_checkpoint_wrapped_module.self_attn"))(bench, folder)


def rounded_head(bench: Bench, folder: Path) -> Any:
    import torch

    found = state_dict(lambda name: name, tied=True)(bench, folder)
    rewrite(folder / FILE, lambda name, tensor: (name, tensor.to(torch.bfloat16) if name == "lm_head.weight" else tensor))
    return found


FULL = (
    Shape("the base model by its marker, `dojo.json`", marker),
    Shape("full weights, `save_pretrained()`", saved()),
    Shape("full weights of a tied base", saved(tied=True), tied=True),
    Shape("in shards, `max_shard_size`", saved(max_shard_size="40KB")),
    Shape("in bfloat16", in_dtype("bfloat16")),
    Shape("in float16", in_dtype("float16")),
    Shape("the base's own weights", unchanged, said=("the weights are the base model's",)),
    Shape("LoRA merged, `merge_and_unload()`", merged(target_modules="all-linear")),
    Shape("DoRA merged", merged(use_dora=True)),
    Shape("merged with `modules_to_save` of an untied base", merged(modules_to_save=["lm_head", "embed_tokens"])),
    Shape(
        "merged with `modules_to_save` of a tied base, trained with `ensure_weight_tying`",
        merged(tied=True, modules_to_save=["embed_tokens"], ensure_weight_tying=True),
        tied=True,
    ),
    Shape("LoRA on `embed_tokens`, merged", merged(target_modules=["q_proj", "embed_tokens"])),
    Shape(
        "the same on a tied base, trained with `ensure_weight_tying`",
        merged(tied=True, target_modules=["q_proj", "embed_tokens"], ensure_weight_tying=True),
        tied=True,
    ),
    Shape(
        "safetensors' `save_model()` of a tied base: `lm_head.weight` alone",
        head_alone,
        tied=True,
        said=("lm_head.weight read as model.embed_tokens.weight",),
    ),
    Shape(
        "a state dict of a tied base with both names",
        state_dict(lambda name: name, tied=True),
        tied=True,
        said=("lm_head.weight ignored",),
    ),
    Shape("the same with one of the two in bfloat16", rounded_head, tied=True, said=("lm_head.weight ignored",)),
    Shape(
        "the body of a tied base (`model.model.save_pretrained()`): no `model.`, `LlamaModel`",
        body_alone,
        tied=True,
        said=("names of tensors",),
    ),
    Shape(
        "a state dict of `torch.compile`: `_orig_mod.`", state_dict(lambda name: f"_orig_mod.{name}"), said=("names of tensors",)
    ),
    Shape("of DistributedDataParallel: `module.`", state_dict(lambda name: f"module.{name}"), said=("names of tensors",)),
    Shape("of both", state_dict(lambda name: f"module._orig_mod.{name}", tied=True), tied=True, said=("names of tensors",)),
    Shape("of activation checkpointing: `_checkpoint_wrapped_module.`", checkpointed, said=("names of tensors",)),
    Shape("of a Lightning module: one more `model.`", state_dict(lambda name: f"model.{name}"), said=("names of tensors",)),
    Shape("FSDP2's class in `architectures` (`FSDPLlamaForCausalLM`)", of_class("FSDPLlamaForCausalLM")),
    Shape("no `architectures`", of_class()),
    Shape("`config.json` of an older transformers (`torch_dtype`, `rope_theta`)", older_config),
    Shape("accelerate: `unwrap_model()` and `get_state_dict()`", by_accelerate),
    Shape("accelerate: `accelerator.save_model()` with the base's `config.json`", by_accelerate_alone, tied=True),
    Shape("`model.safetensors` beside shards of an earlier save", old_shards_beside, said=("ignored: the model is in",)),
    Shape("shards with an index beside one of an earlier save", old_shard_beside, said=("ignored: the model is in",)),
    Shape("a copy of the base's folder, saved over", copied_base, said=("LICENSE", "tokenizer.json ignored")),
)
