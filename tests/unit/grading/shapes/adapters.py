"""Adapters that are taken. PEFT writes patterns in the order of the alphabet and goes by that order when it reads them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.grading.shapes.bench import Bench, edit, learn, read_tensors, rewrite, save_tensors
from tests.unit.grading.shapes.shape import Make, Shape

FILE = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def saved(**config: Any) -> Make:
    """An adapter of this configuration, saved by PEFT and read by PEFT."""

    def make(bench: Bench, folder: Path) -> None:
        bench.lora(**config).save_pretrained(folder)

    return make


def saved_of_tied(**config: Any) -> Make:
    return saved(tied=True, **config)


def in_dtype(name: str) -> Make:
    def make(bench: Bench, folder: Path) -> None:
        import torch

        saved(target_modules="all-linear")(bench, folder)
        rewrite(folder / FILE, lambda key, tensor: (key, tensor.to(getattr(torch, name))))

    return make


def renamed(change: Any, **config: Any) -> Make:
    """The adapter of a model that something wrapped: PEFT's file under other names; compared with the model as trained."""

    def make(bench: Bench, folder: Path) -> Any:
        model = bench.lora(**config)
        model.save_pretrained(folder)
        rewrite(folder / FILE, lambda key, tensor: (change(key), tensor))
        return bench.logits(model)

    return make


def raw_state(**config: Any) -> Make:
    """What is trainable in ``model.state_dict()``, with the adapter's name in the names."""

    def make(bench: Bench, folder: Path) -> Any:
        model = bench.lora(**config)
        model.save_pretrained(folder)
        save_tensors({name: tensor for name, tensor in model.state_dict().items() if "lora_" in name}, folder / FILE)
        assert all(".default" in name for name in read_tensors(folder / FILE))
        return bench.logits(model)

    return make


def injected(bench: Bench, folder: Path) -> Any:
    import peft

    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"])
    model = peft.inject_adapter_in_model(config, bench.model())
    learn(model)
    save_tensors(peft.get_peft_model_state_dict(model), folder / FILE)
    config.save_pretrained(folder)
    assert not any(name.startswith("base_model") for name in read_tensors(folder / FILE))
    return bench.logits(model)


def by_transformers(bench: Bench, folder: Path) -> Any:
    import peft

    model = bench.model()
    model.add_adapter(peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj"]))
    learn(model)
    model.save_pretrained(folder)
    return bench.logits(model)


def converted(bench: Bench, folder: Path) -> Any:
    import peft

    config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj"], init_lora_weights="pissa", task_type="CAUSAL_LM")
    model = peft.get_peft_model(bench.model(), config)
    config.init_lora_weights = True
    model.save_pretrained(bench.folder / "pissa-start")
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data *= 1.05
    model.save_pretrained(folder, path_initial_model_for_weight_conversion=str(bench.folder / "pissa-start"))
    return None


def selected(bench: Bench, folder: Path) -> Any:
    import peft

    model = bench.lora()
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(folder, selected_adapters=["default"])
    return bench.logits(model)


def with_embeddings(bench: Bench, folder: Path) -> None:
    bench.lora().save_pretrained(folder, save_embedding_layers=True)


def head_in_bfloat16(bench: Bench, folder: Path) -> Any:
    """A base loaded in bfloat16 leaves a rounded copy of its output layer; the grader computes with the base's own."""
    import torch

    model = bench.lora(target_modules=["q_proj", "lm_head"])
    model.save_pretrained(folder)
    rewrite(folder / FILE, lambda key, tensor: (key, tensor.to(torch.bfloat16) if "base_layer" in key else tensor))
    return bench.logits(model)


def without_noise(bench: Bench, folder: Path) -> None:
    """Fields that newer or older releases of PEFT write, with nothing in them."""
    bench.lora().save_pretrained(folder)
    edit(folder / CONFIG, some_future_field=None, layer_replication=None, megatron_config=None, lora_bias=False)
    fields = json.loads((folder / CONFIG).read_text())
    del fields["peft_version"]
    (folder / CONFIG).write_text(json.dumps(fields))


Q, K = "model.layers.0.self_attn.q_proj", "k_proj"

ADAPTERS = (
    Shape("LoRA, `save_pretrained()`", saved()),
    Shape("LoRA on `all-linear`", saved(target_modules="all-linear")),
    Shape("`target_modules` as a regular expression", saved(target_modules=r".*layers\.1\..*(gate|up)_proj")),
    Shape(
        "`layers_to_transform`, `exclude_modules`",
        saved(target_modules=["q_proj", "k_proj"], layers_to_transform=[1], exclude_modules=["k_proj"]),
    ),
    Shape("no `task_type` (PEFT writes `auto_mapping`)", saved(task_type=None)),
    Shape("`use_rslora`", saved(use_rslora=True)),
    Shape("`use_dora`", saved(use_dora=True)),
    Shape("`rank_pattern` and `alpha_pattern` by names of layers", saved(rank_pattern={Q: 2}, alpha_pattern={"v_proj": 4})),
    Shape("`rank_pattern` by a regular expression", saved(rank_pattern={r"layers\.[0-9]+\.self_attn\.(q|k)_proj": 2})),
    Shape("`alpha_pattern` by a regular expression, `use_rslora`", saved(alpha_pattern={r".*\.1\..*": 2}, use_rslora=True)),
    Shape(
        "both patterns, of which the first that matches counts",
        saved(target_modules="all-linear", rank_pattern={".*mlp.*": 6, "^model.layers.0.*": 2}, alpha_pattern={r"\w+_proj": 3}),
    ),
    Shape('`init_lora_weights="gaussian"`', saved(init_lora_weights="gaussian")),
    Shape('`init_lora_weights="orthogonal"`', saved(init_lora_weights="orthogonal")),
    Shape("PiSSA, converted on saving", converted),
    Shape("saved in bfloat16", in_dtype("bfloat16")),
    Shape("saved in float16", in_dtype("float16")),
    Shape("fields of other releases of PEFT that are empty", without_noise),
    Shape(
        "LoRA on `lm_head` of an untied base (PEFT adds a copy of the base layer)",
        saved(target_modules=["q_proj", "lm_head"]),
        said=("lm_head.weight ignored",),
    ),
    Shape("the same, of a base loaded in bfloat16", head_in_bfloat16, said=("lm_head.weight ignored",)),
    Shape("`modules_to_save` of an untied base", saved(modules_to_save=["lm_head", "embed_tokens"])),
    Shape("`modules_to_save` of a norm", saved_of_tied(modules_to_save=["model.norm"]), tied=True),
    Shape(
        "`modules_to_save` of a tied base with `ensure_weight_tying`",
        saved_of_tied(modules_to_save=["embed_tokens"], ensure_weight_tying=True),
        tied=True,
    ),
    Shape("`save_embedding_layers=True` (copies of both embeddings)", with_embeddings),
    Shape("one of two adapters, `selected_adapters`", selected),
    Shape("`model.add_adapter()` of transformers", by_transformers),
    Shape(
        "`get_peft_model_state_dict()` of a model with injected LoRA: no `base_model.model.`",
        injected,
        said=("names of tensors",),
    ),
    Shape("names with the adapter's name in them (`.default.`)", raw_state(), said=("names of tensors",)),
    Shape("the same with DoRA", raw_state(use_dora=True), said=("names of tensors",)),
    Shape(
        "`torch.compile`: `_orig_mod.`",
        renamed(lambda key: key.replace("base_model.model.", "base_model.model._orig_mod.")),
        said=("names of tensors",),
    ),
    Shape("`torch.compile` around PEFT's model", renamed(lambda key: f"_orig_mod.{key}"), said=("names of tensors",)),
    Shape("DistributedDataParallel: `module.`", renamed(lambda key: f"module.{key}"), said=("names of tensors",)),
    Shape(
        "FSDP and activation checkpointing: `_fsdp_wrapped_module.`, `_checkpoint_wrapped_module.`",
        renamed(lambda key: "_fsdp_wrapped_module." + key.replace("self_attn", "_checkpoint_wrapped_module.self_attn")),
        said=("names of tensors",),
    ),
)
