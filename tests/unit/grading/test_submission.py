import json
import os

import numpy as np
import pytest

from harness.grading.submission.check import check_submission
from tests.unit.grading.tiny import (
    CONFIG,
    Q_PROJ,
    adapter_weights,
    random_weights,
    write_adapter,
    write_base,
    write_marker,
    write_model,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("model") / "base")


def codes(directory, base):
    report = check_submission(directory, base)
    assert report.ok == (not report.problems)
    assert all(problem.hint for problem in report.problems)
    return [problem.code for problem in report.problems]


def finetuned(scale=0.01, seed=0):
    noise = random_weights(seed + 1)
    return {name: (w + scale * noise[name]).astype(np.float32) for name, w in random_weights(seed).items()}


def test_a_lora_adapter_is_fine_and_its_parameters_are_counted(base, tmp_path):
    report = check_submission(write_adapter(tmp_path / "a", adapter_weights(1)), base)
    assert (report.ok, report.kind, report.parameters) == (True, "adapter", 2 * 4 * 32)


def test_fine_tuned_full_weights_are_fine(base, tmp_path):
    report = check_submission(write_model(tmp_path / "m", finetuned()), base)
    assert (report.ok, report.kind) == (True, "full")
    assert "distance to the base model" in report.notes[-1]


def test_the_base_marker_is_fine(base, tmp_path):
    assert check_submission(write_marker(tmp_path / "b"), base).kind == "base"
    assert codes(tmp_path / "b", base) == []


def test_sharded_full_weights_are_put_together(base, tmp_path):
    from safetensors.numpy import save_file

    weights = finetuned()
    path = write_model(tmp_path / "m", weights)
    (path / "model.safetensors").unlink()
    names = sorted(weights)
    save_file({n: weights[n] for n in names[:5]}, path / "model-00001-of-00002.safetensors")
    save_file({n: weights[n] for n in names[5:]}, path / "model-00002-of-00002.safetensors")
    (path / "model.safetensors.index.json").write_text("{}")
    assert codes(path, base) == []
    save_file({names[0]: weights[names[0]]}, path / "old.safetensors")
    assert codes(path, base) == ["duplicate_tensor"]


def test_a_missing_or_empty_directory_is_no_model(base, tmp_path):
    assert codes(tmp_path / "nowhere", base) == ["not_found"]
    (tmp_path / "empty").mkdir()
    assert codes(tmp_path / "empty", base) == ["no_model"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pytorch_model.bin", "pickle"),
        ("reward_head.bin", "pickle"),
        ("model.pt", "pickle"),
        ("model.CKPT", "pickle"),
        ("weights.npz", "pickle"),
        ("modeling_custom.py", "code"),
        ("kernel.so", "code"),
        ("weights", "unexpected_file"),
        (".env", "unexpected_file"),
        ("model.exe", "unexpected_file"),
    ],
)
def test_pickles_code_and_unknown_files_are_refused_by_name(base, tmp_path, name, code):
    path = write_adapter(tmp_path / "a", adapter_weights(1))
    (path / name).write_bytes(b"x")
    assert codes(path, base) == [code]


def test_links_and_devices_are_refused(base, tmp_path):
    path = write_adapter(tmp_path / "a", adapter_weights(1))
    (tmp_path / "secret.json").write_text("{}")
    (path / "link.json").symlink_to(tmp_path / "secret.json")
    os.link(tmp_path / "secret.json", path / "hard.json")
    os.mkfifo(path / "fifo.json")
    assert sorted(codes(path, base)) == ["device", "hard_link", "symlink"]


def test_weights_behind_a_symlinked_directory_are_not_followed(base, tmp_path):
    write_adapter(tmp_path / "real", adapter_weights(1))
    (tmp_path / "a").symlink_to(tmp_path / "real")
    assert codes(tmp_path / "a", base) == ["not_found"]


def test_a_huge_file_beside_the_weights_is_refused(base, tmp_path):
    path = write_adapter(tmp_path / "a", adapter_weights(1))
    with (path / "notes.txt").open("wb") as stream:
        stream.truncate(65 * 1024 * 1024)
    assert codes(path, base) == ["too_large"]


def test_too_many_files_are_refused(base, tmp_path):
    path = write_adapter(tmp_path / "a", adapter_weights(1))
    for i in range(600):
        (path / f"{i}.json").touch()
    assert codes(path, base) == ["too_many_files"]


def test_tokenizer_template_and_generation_config_are_ignored_with_a_note(base, tmp_path):
    path = write_adapter(tmp_path / "a", adapter_weights(1), {"base_model_name_or_path": "/somewhere/else"})
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        (path / name).write_text("{}")
    notes = " ".join(check_submission(path, base).notes)
    assert all(
        word in notes for word in ("tokenizer.json", "chat_template.jinja", "generation_config.json", "base_model_name_or_path")
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(base, tmp_path, bad):
    weights = adapter_weights(1)
    next(iter(weights.values()))[1, 2] = bad
    assert codes(write_adapter(tmp_path / "a", weights), base) == ["not_finite"]
    full = finetuned()
    full["model.norm.weight"][3] = bad
    assert codes(write_model(tmp_path / "m", full), base) == ["not_finite"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"peft_type": "IA3"}, "adapter_type"),
        ({"peft_type": None}, "adapter_type"),
        ({"modules_to_save": ["lm_head"]}, "adapter_unsupported"),
        ({"modules_to_save": ["norm"]}, "missing_tensors"),
        ({"modules_to_save": "norm"}, "bad_config"),
        ({"bias": "all"}, "adapter_unsupported"),
        ({"layer_replication": [[0, 1]]}, "adapter_unsupported"),
        ({"trainable_token_indices": [1]}, "adapter_unsupported"),
        ({"some_future_field": "on"}, "adapter_unsupported"),
        ({"init_lora_weights": "pissa"}, "adapter_changes_base"),
        ({"init_lora_weights": ["pissa"]}, "adapter_changes_base"),
        ({"r": "4"}, "bad_config"),
        ({"r": -4}, "bad_config"),
        ({"lora_alpha": 1e300}, "bad_config"),
        ({"rank_pattern": {"(a+)+$": 8}}, "bad_config"),
        ({"rank_pattern": [8]}, "bad_config"),
        ({"r": 8}, "wrong_shape"),
        ({"use_dora": True}, "missing_tensors"),
    ],
)
def test_adapter_configurations_that_cannot_be_graded_are_refused(base, tmp_path, change, code):
    assert codes(write_adapter(tmp_path / "a", adapter_weights(1), change), base) == [code]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda w: {k: v for k, v in w.items() if "lora_B" not in k}, "missing_tensors"),
        (lambda w: {k: v[:, :-1].copy() for k, v in w.items()}, "wrong_shape"),
        (lambda w: {k.replace("layers.0", "layers.7"): v for k, v in w.items()}, "unknown_module"),
        (lambda w: {k.replace(Q_PROJ, "model.embed_tokens"): v for k, v in w.items()}, "unknown_module"),
        (lambda w: {k.replace(Q_PROJ, "model.layers.0.input_layernorm"): v for k, v in w.items()}, "unknown_module"),
        (lambda w: w | {"base_model.model.lm_head.weight": np.ones((2, 2), np.float32)}, "wrong_shape"),
        (lambda w: {}, "empty_adapter"),
    ],
)
def test_adapter_tensors_that_do_not_match_the_base_are_refused(base, tmp_path, change, code):
    assert code in codes(write_adapter(tmp_path / "a", change(adapter_weights(1))), base)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model_type": "qwen2"}, "wrong_architecture"),
        ({"hidden_size": 64}, "wrong_architecture"),
        ({"num_hidden_layers": 3}, "wrong_architecture"),
        ({"vocab_size": 301}, "wrong_architecture"),
        ({"rms_norm_eps": 1e-3}, "wrong_architecture"),
        ({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}, "wrong_architecture"),
        ({"tie_word_embeddings": False}, "wrong_architecture"),
        ({"architectures": ["EvilForCausalLM"]}, "wrong_architecture"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling.Evil"}}, "code"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantised"),
    ],
)
def test_another_architecture_is_refused_by_its_config(base, tmp_path, change, code):
    assert codes(write_model(tmp_path / "m", finetuned(), change), base) == [code]


def test_an_older_spelling_of_the_same_config_is_fine_and_harmless_differences_are_noted(base, tmp_path):
    path = write_model(tmp_path / "m", finetuned())
    config = {k: v for k, v in CONFIG.items() if k != "rope_parameters"}
    (path / "config.json").write_text(json.dumps(config | {"rope_theta": 10000, "torch_dtype": "bfloat16", "eos_token_id": 9}))
    report = check_submission(path, base)
    assert report.ok, report.problems
    assert any("eos_token_id" in note for note in report.notes)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "model.norm.weight"}, "missing_tensors"),
        (lambda w: w | {"model.extra.weight": np.ones(3, np.float32)}, "extra_tensors"),
        (lambda w: w | {"model.norm.weight": np.ones(31, np.float32)}, "wrong_shape"),
        (lambda w: w | {"lm_head.weight": w["model.embed_tokens.weight"] + 1}, "wrong_architecture"),
    ],
)
def test_full_weights_must_be_the_base_model_s_tensors(base, tmp_path, change, code):
    assert codes(write_model(tmp_path / "m", change(finetuned())), base) == [code]


def test_a_tied_output_layer_that_was_saved_too_is_ignored(base, tmp_path):
    weights = finetuned()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    report = check_submission(write_model(tmp_path / "m", weights), base)
    assert report.ok
    assert any("lm_head" in note for note in report.notes)


def test_another_model_of_the_same_architecture_is_no_finetune(base, tmp_path):
    assert codes(write_model(tmp_path / "m", random_weights(99)), base) == ["not_a_finetune"]


def test_the_base_s_own_weights_are_said_to_be_the_base_s(base, tmp_path):
    report = check_submission(write_model(tmp_path / "m", random_weights(0)), base)
    assert report.ok
    assert "none, the weights are the base model's" in report.notes[-1]


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"adapter_config.json": "{}"}, "missing_weights"),
        ({"adapter_model.safetensors": "x"}, "missing_config"),
        ({"model.safetensors": "x"}, "missing_config"),
        ({"adapter_config.json": "{}", "adapter_model.safetensors": "x", "model.safetensors": "x"}, "ambiguous"),
        ({"dojo.json": '{"dojo": "base"}', "config.json": "{}"}, "ambiguous"),
        ({"dojo.json": '{"dojo": "other"}'}, "bad_config"),
        ({"dojo.json": '{"dojo": "base", "dojo": "base"}'}, "bad_config"),
        ({"adapter_config.json": '{"r": NaN}', "adapter_model.safetensors": "x"}, "bad_config"),
        ({"adapter_config.json": "[" * 100_000, "adapter_model.safetensors": "x"}, "bad_config"),
        ({"config.json": "[]", "model.safetensors": "x"}, "bad_config"),
    ],
)
def test_directories_that_are_not_one_whole_model_are_refused(base, tmp_path, files, code):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert codes(tmp_path, base) == [code]
