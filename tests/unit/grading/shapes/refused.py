"""Folders that are refused, each with what its refusal advises carried out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.unit.grading.shapes import adapters, full
from tests.unit.grading.shapes.bench import Bench, edit, emptied, moved, read_tensors, rewrite, save_tensors
from tests.unit.grading.shapes.beside import TRAP, with_files
from tests.unit.grading.shapes.shape import Make, Shape

ADAPTER, MODEL = adapters.FILE, full.FILE


def deleting(*names: str) -> Any:
    def remedy(bench: Bench, folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remedy


def instead(make: Make) -> Any:
    """The remedy that saves or trains anew."""

    def remedy(bench: Bench, folder: Path) -> None:
        make(bench, emptied(folder))

    return remedy


def pickled(bench: Bench, folder: Path) -> None:
    import torch

    full.unchanged(bench, folder)
    (folder / MODEL).unlink()
    torch.save(bench.trained().state_dict(), folder / "pytorch_model.bin")


def linked(bench: Bench, folder: Path) -> None:
    """As a hub's cache lays a snapshot out."""
    full.saved()(bench, blobs := bench.folder / "blobs")
    folder.mkdir()
    for path in blobs.iterdir():
        (folder / path.name).symlink_to(path)


def copied(bench: Bench, folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.with_name("copied"), symlinks=False))


def untied_heads(bench: Bench, folder: Path) -> None:
    """What merging ``modules_to_save`` of a tied base gives: two matrices."""
    bench.lora(tied=True, modules_to_save=["embed_tokens"]).merge_and_unload().save_pretrained(folder)
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= read_tensors(folder / MODEL).keys()


def two_matrices(bench: Bench, folder: Path) -> None:
    full.state_dict(lambda name: name, tied=True)(bench, folder)
    rewrite(folder / MODEL, lambda name, tensor: (name, tensor * 1.01 if name == "lm_head.weight" else tensor))


def unmerged(bench: Bench, folder: Path) -> None:
    save_tensors(bench.lora().state_dict(), folder / MODEL)
    bench.copy_config(folder)


def emptied_tensors(make: Make, file: str) -> Make:
    """What ZeRO-3 leaves in a process that has gathered nothing."""

    def made(bench: Bench, folder: Path) -> None:
        make(bench, folder)
        rewrite(folder / file, lambda name, tensor: (name, tensor.new_empty(0)))

    return made


def resized(bench: Bench, folder: Path) -> None:
    model = bench.trained()
    model.resize_token_embeddings(300)
    model.save_pretrained(folder)


def two_adapters(bench: Bench, folder: Path) -> None:
    import peft

    model = bench.lora()
    model.add_adapter("second", peft.LoraConfig(r=4, target_modules=["q_proj"]))
    model.save_pretrained(folder, selected_adapters=["default"])
    save_tensors({name: tensor for name, tensor in model.state_dict().items() if "lora_" in name}, folder / ADAPTER)


def under_a_name(bench: Bench, folder: Path) -> None:
    import peft

    config = peft.LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(bench.model(), config, adapter_name="policy").save_pretrained(folder)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["policy"]


def last_checkpoint(bench: Bench, folder: Path) -> None:
    adapters.saved()(bench, folder / "checkpoint-40")
    (folder / "trainer_state.json").write_text("{}")


def ia3(bench: Bench, folder: Path, merge: bool = False) -> None:
    import peft

    config = peft.IA3Config(target_modules=["k_proj", "v_proj"], feedforward_modules=[], task_type="CAUSAL_LM")
    model = peft.get_peft_model(bench.model(), config)
    (model.merge_and_unload() if merge else model).save_pretrained(folder)


def prompt_tuning(bench: Bench, folder: Path) -> None:
    import peft

    config = peft.PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")
    peft.get_peft_model(bench.model(), config).save_pretrained(folder)


def without_config(bench: Bench, folder: Path) -> None:
    full.saved()(bench, folder)
    (folder / "config.json").unlink()
    (folder / "generation_config.json").unlink(missing_ok=True)


def both_kinds(bench: Bench, folder: Path) -> None:
    full.saved()(bench, folder)
    adapters.saved()(bench, folder)


def pissa(bench: Bench, folder: Path, merge: bool = False) -> None:
    import peft

    config = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="pissa", task_type="CAUSAL_LM")
    model = peft.get_peft_model(bench.model(), config)
    moved((parameter for name, parameter in model.named_parameters() if "lora_" in name), 0.02)
    (model.merge_and_unload() if merge else model).save_pretrained(folder)


def not_finite(bench: Bench, folder: Path) -> None:
    adapters.saved()(bench, folder)
    rewrite(folder / ADAPTER, lambda name, tensor: (name, tensor / 0))


def another_model(bench: Bench, folder: Path) -> None:
    model = bench.model()
    moved(model.parameters(), 1.5)
    model.save_pretrained(folder)


def far_too_large(bench: Bench, folder: Path) -> None:
    adapters.saved()(bench, folder)
    edit(folder / adapters.CONFIG, lora_alpha=4000)


def config_of_another_rank(bench: Bench, folder: Path) -> None:
    adapters.saved()(bench, folder)
    edit(folder / adapters.CONFIG, r=8)


def changed(make: Make, file: str, **fields: Any) -> Make:
    def made(bench: Bench, folder: Path) -> None:
        make(bench, folder)
        edit(folder / file, **fields)

    return made


def set_back(file: str, **fields: Any) -> Any:
    def remedy(bench: Bench, folder: Path) -> None:
        edit(folder / file, **fields)

    return remedy


def other_base_copy(bench: Bench, folder: Path) -> None:
    adapters.saved(target_modules=["q_proj", "lm_head"])(bench, folder)
    rewrite(folder / ADAPTER, lambda name, tensor: (name, tensor * 1.1 if "base_layer" in name else tensor))


def doubled_names(bench: Bench, folder: Path) -> None:
    full.saved()(bench, folder)
    tensors = read_tensors(folder / MODEL)
    save_tensors(tensors | {"_orig_mod.model.norm.weight": tensors["model.norm.weight"]}, folder / MODEL)


def without_head(bench: Bench, folder: Path) -> None:
    full.saved()(bench, folder)
    rewrite(folder / MODEL, lambda name, tensor: None if name == "lm_head.weight" else (name, tensor))


def in_eight_bits(bench: Bench, folder: Path) -> None:
    import torch

    full.saved()(bench, folder)
    rewrite(folder / MODEL, lambda name, tensor: (name, tensor.to(torch.float8_e4m3fn) if tensor.ndim == 2 else tensor))


def renamed_layers(bench: Bench, folder: Path) -> None:
    adapters.saved()(bench, folder)
    rewrite(folder / ADAPTER, lambda name, tensor: (name.replace("q_proj", "wq"), tensor))


def half_an_adapter(bench: Bench, folder: Path) -> None:
    adapters.saved()(bench, folder)
    rewrite(folder / ADAPTER, lambda name, tensor: None if "lora_B" in name else (name, tensor))


def quantised(bench: Bench, folder: Path) -> None:
    changed(full.saved(), "config.json", quantization_config={"load_in_4bit": True, "quant_method": "bitsandbytes"})(
        bench, folder
    )


def dequantised(bench: Bench, folder: Path) -> None:
    full.in_dtype("bfloat16")(bench, emptied(folder))


def nothing(bench: Bench, folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("soon")


def hard_linked(bench: Bench, folder: Path) -> None:
    adapters.saved()(bench, folder)
    os.link(folder / ADAPTER, folder.with_name("elsewhere"))


def remote_code(bench: Bench, folder: Path) -> None:
    full.saved()(bench, folder)
    edit(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})


def no_remote_code(bench: Bench, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["auto_map"]
    (folder / "config.json").write_text(json.dumps(config))


MERGED = instead(full.merged())
PLAIN = instead(adapters.saved())

REFUSED = (
    Shape("weights as a pickle alone, `pytorch_model.bin`", pickled, code="pickle", remedy=instead(full.saved())),
    Shape(
        "a pickle of weights beside `model.safetensors`",
        with_files(full.saved(), {"pytorch_model.bin": TRAP}),
        code="pickle",
        remedy=deleting("pytorch_model.bin"),
    ),
    Shape(
        "an adapter with `adapter_model.bin` beside it",
        with_files(adapters.saved(), {"adapter_model.bin": TRAP}),
        code="pickle",
        remedy=deleting("adapter_model.bin"),
    ),
    Shape(
        "code, `modeling_mine.py`",
        with_files(full.saved(), {"modeling_mine.py": b"import os"}),
        code="code",
        remedy=deleting("modeling_mine.py"),
    ),
    Shape("code by `config.json`: `auto_map`", remote_code, code="code", remedy=no_remote_code),
    Shape(
        "an unknown file, `weights.exe`",
        with_files(full.saved(), {"weights.exe": b"MZ"}),
        code="unexpected_file",
        remedy=deleting("weights.exe"),
    ),
    Shape("links, as a hub's cache has them", linked, code="symlink", remedy=copied),
    Shape("a hard link", hard_linked, code="hard_link", remedy=copied),
    Shape("nothing of a model", nothing, code="no_model", remedy=PLAIN),
    Shape(
        "an adapter saved under a name: it lies in `policy/`",
        under_a_name,
        code="no_model",
        remedy=lambda bench, folder: folder / "policy",
    ),
    Shape(
        "an output folder of which only checkpoints are models",
        last_checkpoint,
        code="no_model",
        remedy=lambda bench, folder: folder / "checkpoint-40",
    ),
    Shape(
        "weights without `config.json`",
        without_config,
        code="missing_config",
        remedy=lambda bench, folder: bench.copy_config(folder),
    ),
    Shape("an adapter and full weights in one folder", both_kinds, code="ambiguous", remedy=deleting(MODEL)),
    Shape("two adapters in one file", two_adapters, code="ambiguous", remedy=instead(adapters.selected)),
    Shape("another method than LoRA: IA³", ia3, code="adapter_type", remedy=instead(lambda b, f: ia3(b, f, merge=True))),
    Shape("another method that cannot be merged: prompt tuning", prompt_tuning, code="adapter_type", remedy=PLAIN),
    Shape('`bias="all"`', changed(adapters.saved(), adapters.CONFIG, bias="all"), code="adapter_unsupported", remedy=MERGED),
    Shape(
        "`trainable_token_indices`",
        adapters.saved(trainable_token_indices=[5, 6]),
        code="adapter_unsupported",
        remedy=instead(full.merged(trainable_token_indices=[5, 6])),
    ),
    Shape(
        "`modules_to_save` of a tied base",
        adapters.saved_of_tied(modules_to_save=["embed_tokens"]),
        tied=True,
        code="adapter_unsupported",
        remedy=instead(adapters.saved_of_tied(modules_to_save=["embed_tokens"], ensure_weight_tying=True)),
    ),
    Shape(
        "the same, merged: embedding and output layer differ",
        untied_heads,
        tied=True,
        code="wrong_architecture",
        remedy=instead(full.merged(tied=True, modules_to_save=["embed_tokens"], ensure_weight_tying=True)),
    ),
    Shape(
        "LoRA on `lm_head` of a tied base",
        adapters.saved_of_tied(target_modules=["q_proj", "lm_head"]),
        tied=True,
        code="unknown_module",
        remedy=instead(adapters.saved_of_tied(target_modules="all-linear")),
    ),
    Shape(
        "LoRA on `embed_tokens`",
        adapters.saved(target_modules=["q_proj", "embed_tokens"]),
        code="unknown_module",
        remedy=instead(full.merged(target_modules=["q_proj", "embed_tokens"])),
    ),
    Shape("PiSSA as it is", pissa, code="adapter_changes_base", remedy=instead(lambda b, f: pissa(b, f, merge=True))),
    Shape("a copy of the base layer that is not the base's", other_base_copy, code="adapter_changes_base", remedy=PLAIN),
    Shape("names of layers that the base does not have", renamed_layers, code="unknown_module", remedy=PLAIN),
    Shape("an adapter without its `lora_B`", half_an_adapter, code="missing_tensors", remedy=PLAIN),
    Shape(
        "`adapter_config.json` of another rank", config_of_another_rank, code="wrong_shape", remedy=set_back(adapters.CONFIG, r=4)
    ),
    Shape(
        "a pattern that repeats a repeat",
        changed(adapters.saved(), adapters.CONFIG, rank_pattern={"(q+)+_proj": 4}),
        code="bad_config",
        remedy=set_back(adapters.CONFIG, rank_pattern={"q_proj": 4}),
    ),
    Shape("full weights with an adapter in them that was not merged", unmerged, code="unmerged_adapter", remedy=MERGED),
    Shape(
        "empty tensors of ZeRO-3, full weights",
        emptied_tensors(full.saved(), MODEL),
        code="empty_tensors",
        remedy=instead(full.by_accelerate),
    ),
    Shape("empty tensors of ZeRO-3, an adapter", emptied_tensors(adapters.saved(), ADAPTER), code="empty_tensors", remedy=PLAIN),
    Shape("two names for one tensor", doubled_names, code="duplicate_tensor", remedy=instead(full.saved())),
    Shape("an untied base without its output layer", without_head, code="missing_tensors", remedy=instead(full.saved())),
    Shape(
        "a state dict of a tied base whose two matrices differ",
        two_matrices,
        tied=True,
        code="wrong_architecture",
        remedy=instead(full.saved(tied=True)),
    ),
    Shape("more words in the vocabulary", resized, code="wrong_architecture", remedy=instead(full.saved())),
    Shape("weights in float8", in_eight_bits, code="bad_dtype", remedy=dequantised),
    Shape("quantised weights", quantised, code="quantised", remedy=dequantised),
    Shape("NaN or infinite values", not_finite, code="not_finite", remedy=PLAIN),
    Shape(
        "an adapter at a hundred times its scale",
        far_too_large,
        code="not_a_finetune",
        remedy=set_back(adapters.CONFIG, lora_alpha=8),
    ),
    Shape("another model of the same shape", another_model, code="not_a_finetune", remedy=instead(full.saved())),
)
