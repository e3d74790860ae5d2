"""Which engine generates, what its sandbox is shown, which way an adapter goes, and how grades of different engines meet."""

import json
import sys
from pathlib import Path

import pytest

from harness.assets.base_models import BaseModel
from harness.grading.engines import PLACE, PYTHON, VARIABLE, GraderEngine, choose_engine, handed_on
from harness.grading.evaluator import Evaluator, Exam
from harness.grading.submission.adapter import Adapter, LoraModule
from harness.grading.submission.base_files import read_base
from harness.grading.submission.check import read_submission
from harness.grading.submission.weights_file import Mapped, Tensor, read_header
from harness.grading.worker.adapters import MAX_RANK, why_merged, write_served
from harness.grading.worker.merged_files import write_merged
from harness.sandbox.base import SandboxSpec
from harness.sandbox.scripted import ScriptedBackend, ScriptedSandbox
from harness.spec.engine import EngineRecord
from harness.spec.errors import EngineMissing, GraderFailure, UsageError
from harness.spec.result import GradeRecord
from harness.spec.task import Generation, Limits
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.scoring.contract import load_grader
from harness.taskkit.scoring.scores import aggregate
from tests.unit.grading.tiny import (
    CONFIG,
    Q_PROJ,
    TOY_TASK,
    adapter_weights,
    toy_items,
    write_adapter,
    write_base,
    write_lines,
    write_marker,
    write_tokenizer,
)

OTHER = {PYTHON: "/opt/other/bin/python"}


class Showing:
    """A backend that shows this host's system; what lies below ``folders`` is part of it."""

    def __init__(self, *folders: str) -> None:
        self._folders = folders

    def shows(self, path: Path) -> bool:
        return any(str(path).startswith(folder) for folder in self._folders)


class Images:
    """A backend whose sandboxes' system is an image's; ``there``: whether it has the one with vLLM, or cannot tell."""

    name = "boxes"

    def __init__(self, there: bool | None = True) -> None:
        self._there = there
        self.asked: list[tuple[str, int]] = []

    def has_image(self, name: str, gpus: int) -> bool | None:
        self.asked.append((name, gpus))
        return self._there


@pytest.mark.parametrize(
    ("wish", "environ", "gpus", "here", "name"),
    [
        ("auto", {}, 0, False, "transformers"),
        ("auto", {}, 0, True, "transformers"),
        ("auto", OTHER, 0, False, "transformers"),
        ("auto", {}, 1, False, "transformers"),
        ("auto", {}, 1, True, "vllm"),
        ("auto", OTHER, 1, False, "vllm"),
        ("transformers", OTHER, 1, True, "transformers"),
        ("vllm", OTHER, 0, False, "vllm"),
        ("vllm", {}, 0, True, "vllm"),
        ("vllm", {}, 1, False, None),
        ("auto", {VARIABLE: "vllm"}, 0, False, None),
        ("auto", {VARIABLE: "vllm", **OTHER}, 0, False, "vllm"),
        ("vllm", {VARIABLE: "transformers"}, 1, False, "transformers"),
        ("vllm", {VARIABLE: "auto"}, 1, False, "transformers"),
        ("transformers", {VARIABLE: ""}, 1, True, "transformers"),
    ],
)
def test_an_engine_is_chosen_by_profile_variable_and_machine_and_a_missing_one_is_no_other(wish, environ, gpus, here, name):
    if name is None:
        with pytest.raises(EngineMissing) as error:
            choose_engine(wish, gpus, Showing(), environ, here=here)
        assert PYTHON in error.value.hint and error.value.exit_code == 3
        return
    chosen = choose_engine(wish, gpus, Showing(), environ, here=here)
    assert chosen.name == name
    assert chosen.python == ("" if name == "transformers" else environ.get(PYTHON) or sys.executable)


def test_a_variable_that_names_no_engine_is_an_error_that_lists_them():
    with pytest.raises(UsageError) as error:
        choose_engine("auto", 0, environ={VARIABLE: "vlm"})
    assert "'vlm'" in error.value.message and "vllm" in error.value.hint


@pytest.fixture
def python(tmp_path):
    """A venv's python that says it has vllm, made from the Python of /usr/local/other."""
    program = tmp_path / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{json.dumps([str(tmp_path / 'venv'), '/usr/local/other', True])}'\n")
    program.chmod(0o755)
    return program


def test_transformers_needs_nothing_and_a_venv_of_this_host_is_mounted_with_the_python_it_was_made_from(python):
    assert GraderEngine("transformers").options(Showing()) == GraderEngine("transformers").mounts(Showing()) == []
    vllm = GraderEngine("vllm", str(python))
    both = ["/usr/local/other", PLACE]
    for backend, places in ((Showing("/usr"), [PLACE]), (Showing(), both)):
        assert [mount.target for mount in vllm.mounts(backend)] == places
        assert vllm.options(backend) == ["--engine", "vllm", "--engine-python", f"{PLACE}/bin/python"]
    shown = Showing("/usr", str(python.parents[1]))
    assert vllm.mounts(shown) == [] and vllm.options(shown)[-1] == str(python)


def test_a_python_that_is_missing_on_this_host_is_an_error(tmp_path):
    with pytest.raises(EngineMissing, match="does not exist"):
        GraderEngine("vllm", str(tmp_path / "none")).mounts(Showing())


@pytest.mark.parametrize(
    ("wish", "environ", "gpus", "there", "name"),
    [
        ("auto", {}, 0, True, "transformers"),
        ("auto", {}, 1, True, "vllm"),
        ("auto", {}, 1, False, "transformers"),
        ("auto", {}, 1, None, "transformers"),
        ("auto", OTHER, 1, False, "transformers"),
        ("vllm", {}, 0, True, "vllm"),
        ("vllm", {}, 1, None, "vllm"),
        ("auto", {VARIABLE: "vllm"}, 0, True, "vllm"),
        ("vllm", {}, 0, False, None),
        ("vllm", OTHER, 0, False, None),
    ],
)
def test_where_sandboxes_are_made_of_images_vllm_is_an_image_and_auto_takes_it_on_a_gpu(wish, environ, gpus, there, name):
    backend = Images(there)
    if name is None:
        with pytest.raises(EngineMissing, match="boxes has no image dojo/grader-vllm:c") as error:
            choose_engine(wish, gpus, backend, environ, here=True)
        assert error.value.hint.startswith("dojo images build grader-vllm,")
        return
    chosen = choose_engine(wish, gpus, backend, environ, here=True)
    assert chosen == GraderEngine(name, *(("/opt/vllm/bin/python", "grader-vllm") if name == "vllm" else ()))
    assert backend.asked == ([] if wish == environ.get(VARIABLE, wish) == "auto" and not gpus else [("grader-vllm", gpus)])
    assert chosen.mounts(backend) == [] and chosen.options(backend)[3:] == (["/opt/vllm/bin/python"] if name == "vllm" else [])


def test_the_missing_image_for_gpus_is_the_cuda_one():
    with pytest.raises(EngineMissing) as error:
        choose_engine("vllm", 2, Images(False), {})
    assert "--variant cuda" in error.value.hint


def test_a_python_of_this_host_means_nothing_in_an_image_or_elsewhere_and_another_path_does(python):
    here, there = {PYTHON: str(python), VARIABLE: "vllm"}, {PYTHON: "/opt/other/bin/python", VARIABLE: ""}
    assert choose_engine("vllm", 0, Images(), here).python == "/opt/vllm/bin/python"
    assert choose_engine("vllm", 0, Images(), there).python == "/opt/other/bin/python"
    assert handed_on(here) == {VARIABLE: "vllm"} and handed_on(there) == {PYTHON: "/opt/other/bin/python"}


def test_a_grader_with_vllm_is_made_of_the_image_that_has_it(tmp_path, monkeypatch):
    backend = ScriptedBackend()
    monkeypatch.setattr(backend, "has_image", lambda name, gpus: True, raising=False)
    write_lines(tmp_path / "items.jsonl", toy_items(2))
    exam = Exam(TOY_TASK, BaseModel("toy", tmp_path, "0" * 64, 0), tmp_path / "items.jsonl", tmp_path / "f", Generation(), "dev")
    for engine, image in (("transformers", "grader"), ("vllm", "grader-vllm")):
        monkeypatch.setenv(VARIABLE, engine)
        Evaluator.start(backend, engine, exam, Limits())
        assert backend.created[-1].image == image


def test_a_python_without_vllm_is_refused_before_a_sandbox_is_made():
    with pytest.raises(EngineMissing, match="has no vllm"):
        GraderEngine("vllm", sys.executable).mounts(Showing())


def lora(target=f"{Q_PROJ}.weight", rank=8, dora=False):
    def tensor(*shape):
        return Tensor(Path("x"), "t", "F32", shape, 0, 0, Mapped(Path("x")))

    return LoraModule(target, tensor(rank, 32), tensor(32, rank), tensor(32) if dora else None, 2.0)


@pytest.mark.parametrize(
    ("adapter", "device", "config", "why"),
    [
        (Adapter((lora(),)), "cuda", CONFIG, ""),
        (Adapter((lora(rank=MAX_RANK), lora("model.layers.1.mlp.down_proj.weight"))), "cuda", CONFIG, ""),
        (Adapter((lora(rank=MAX_RANK + 1),)), "cuda", CONFIG, "rank 65"),
        (Adapter((lora(), lora(dora=True))), "cuda", CONFIG, "DoRA"),
        (Adapter((lora(),), {"lm_head.weight": lora().a}), "cuda", CONFIG, "lm_head.weight whole"),
        (Adapter((lora("transformer.h.0.attn.c_attn.weight"),)), "cuda", CONFIG, "no adapter of c_attn"),
        (Adapter((lora(),)), "cuda", CONFIG | {"num_local_experts": 8}, "mixture of experts"),
        (Adapter((lora(),)), "cpu", CONFIG, "slower"),
    ],
)
def test_an_adapter_is_served_where_vllm_can_and_merged_with_the_reason_otherwise(adapter, device, config, why):
    found = why_merged(adapter, device, config)
    assert bool(found) == bool(why) and why in found


def test_an_adapter_is_written_for_vllm_with_one_rank_and_no_scale_and_means_the_same(tmp_path):
    import torch
    from safetensors.torch import load_file

    from harness.grading.worker.warm_model import merged_weight, read_tensor

    base = read_base(write_base(tmp_path / "base"))
    k_proj = Q_PROJ.replace("q_proj", "k_proj")
    weights = adapter_weights(1) | adapter_weights(2, rank=2, modules=(k_proj,), size=0.1)
    folder = write_adapter(tmp_path / "a", weights, {"rank_pattern": {"k_proj": 2}, "target_modules": ["q_proj", "k_proj"]})
    adapter = read_submission(folder, base).adapter
    written = write_served(adapter, tmp_path / "served")
    config = json.loads((written / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == 4 and config["target_modules"] == ["k_proj", "q_proj"]
    found = load_file(written / "adapter_model.safetensors")
    assert len(found) == 4
    for module in adapter.modules:
        stem = f"base_model.model.{module.target.removesuffix('.weight')}"
        a, b = found[f"{stem}.lora_A.weight"], found[f"{stem}.lora_B.weight"]
        assert a.shape[0] == b.shape[1] == 4
        merged = merged_weight(module, base, torch.device("cpu"))
        assert torch.allclose(read_tensor(base.tensors[module.target]) + b @ a, merged, atol=1e-6)


def test_merged_weights_are_written_as_the_base_model_lies_with_its_own_configuration(tmp_path):
    import torch

    from harness.grading.worker.warm_model import WarmModel, read_tensor

    base = read_base(write_base(tmp_path / "base"))
    write_tokenizer(tmp_path / "base")
    folder = write_adapter(tmp_path / "a", adapter_weights(1))
    (folder / "config.json").write_text('{"architectures": ["Other"]}')
    submission = read_submission(folder, base)
    assert submission.report.ok
    written = read_base(write_merged(submission, base, tmp_path / "merged", torch.float32))
    assert written.config == base.config
    warm = WarmModel(tmp_path / "base")
    with warm.loaded(submission):
        assert warm.record().adapter == "merged"
        for name, tensor in written.tensors.items():
            assert torch.equal(read_tensor(tensor), warm.model.get_parameter(name)), name
    marker = read_submission(write_marker(tmp_path / "m"), base)
    untouched = write_merged(marker, base, tmp_path / "same", torch.float32)
    assert (untouched / "model.safetensors").is_symlink()
    assert read_header(untouched / "model.safetensors").keys() == base.tensors.keys()


def test_grades_written_before_there_were_two_engines_read_as_transformers():
    scores = {"primary": {"name": "a", "value": 0.5}, "parse_rate": 1.0, "items": 0}
    grade = {"number": 1, "time": "2026-01-01T00:00:00Z", "scores": scores, "ci_low": 0, "ci_high": 1, "item_scores": {}}
    assert GradeRecord.model_validate({**grade, "verdict_sha256": "0", "seconds": 1}).engine == EngineRecord(name="transformers")
    assert Verdict.model_validate({"split": "dev", "scores": scores, "items": []}).engine == EngineRecord()


def test_a_record_says_engine_device_precision_way_and_versions_in_one_line():
    known = {"device": "cpu", "dtype": "float32", "versions": {"vllm": "0.32.0"}}
    record = EngineRecord(name="vllm", adapter="merged", why="it is DoRA", **known)
    assert record.words == "vllm on cpu, float32, adapter merged (it is DoRA); vllm 0.32.0"
    assert EngineRecord().words == "transformers"


def test_a_verdict_of_another_engine_than_the_chosen_one_is_not_believed(tmp_path):
    items = toy_items(2)
    write_lines(tmp_path / "items.jsonl", items)
    exam = Exam(TOY_TASK, BaseModel("toy", tmp_path, "0" * 64, 0), tmp_path / "items.jsonl", tmp_path / "f", Generation(), "dev")
    scored = tuple(ItemScore(id=item["id"], subset=item["subset"], parsed=False, score=0.0) for item in items)
    scores = aggregate(scored, load_grader(TOY_TASK), exam.primary, {item["id"]: item["row"] for item in items})
    verdict = Verdict(split="dev", scores=scores, items=scored)
    reply = {"ok": True, "report": {"ok": True, "kind": "base"}, "responses": {item["id"]: "" for item in items}}

    class Replying(ScriptedSandbox):
        def read_file(self, path, **options):
            answer = json.dumps(reply | {"verdict": verdict.model_dump(mode="json")}).encode()
            return answer if "/replies/" in path else super().read_file(path, **options)

    sandbox = Replying(SandboxSpec("scripted", Limits(), labels={"dojo.split": "dev"}))
    assert Evaluator(sandbox, exam).score(write_marker(tmp_path / "b"))[0].engine == EngineRecord()
    with pytest.raises(GraderFailure, match="vllm was to generate, and the verdict says transformers"):
        Evaluator(sandbox, exam, None, GraderEngine("vllm", "python")).score(write_marker(tmp_path / "b"))
