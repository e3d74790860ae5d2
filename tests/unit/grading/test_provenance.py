"""How far submissions move the base: figures that can be computed by hand, and what each rule refuses."""

import math

import numpy as np
import pytest

from harness.grading.submission.base_files import read_base
from harness.grading.submission.check import check_submission
from harness.grading.submission.known_models import resembles
from harness.grading.submission.provenance import BEYOND, HIGH, LARGEST, VECTOR_LARGEST, provenance_problem
from harness.spec.submission import Provenance
from tests.unit.grading.tiny import Q_PROJ, adapter_weights, random_weights, shapes, write_adapter, write_base, write_model

K_PROJ = "model.layers.1.self_attn.k_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base"))


def moved(base, folder, weights, config=None):
    report = check_submission(write_adapter(folder, weights, config), base)
    assert report.provenance is not None, report.problems
    return report.provenance


def factors(weights, module):
    stem = f"base_model.model.{module}"
    return (weights[f"{stem}.lora_{part}.weight"].astype(np.float64) for part in "BA")


@pytest.mark.parametrize(("config", "scale"), [({}, 2.0), ({"use_rslora": True}, 4.0), ({"lora_alpha": 1}, 0.25)])
def test_an_adapter_is_measured_by_its_product_at_its_scale(base, tmp_path, config, scale):
    weights = adapter_weights(1, modules=(Q_PROJ, K_PROJ), size=0.05)
    ratios = []
    for module in (Q_PROJ, K_PROJ):
        b, a = factors(weights, module)
        ratios.append(np.linalg.norm(scale * b @ a) / np.linalg.norm(random_weights(0)[f"{module}.weight"]))
    found = moved(base, tmp_path / "a", weights, config)
    assert found.matrices == 2 and found.vectors == 0
    assert math.isclose(found.largest, max(ratios), rel_tol=1e-6) and math.isclose(found.median, np.mean(ratios), rel_tol=1e-6)


def test_a_dora_adapter_is_measured_by_what_its_magnitudes_make_of_the_rows(base, tmp_path):
    weights = adapter_weights(2, size=0.05)
    b, a = factors(weights, Q_PROJ)
    original = random_weights(0)[f"{Q_PROJ}.weight"].astype(np.float64)
    magnitude = (np.linalg.norm(original, axis=1) * np.linspace(0.8, 1.2, len(original))).astype(np.float32)
    merged = original + 2.0 * b @ a
    merged *= (magnitude / np.linalg.norm(merged, axis=1))[:, None]
    weights |= {f"base_model.model.{Q_PROJ}.lora_magnitude_vector": magnitude}
    found = moved(base, tmp_path / "a", weights, {"use_dora": True})
    assert math.isclose(found.largest, np.linalg.norm(merged - original) / np.linalg.norm(original), rel_tol=1e-6)


def test_full_weights_are_measured_in_matrices_and_in_norms_and_only_where_they_changed(base, tmp_path):
    weights = random_weights(0)
    norm = "model.norm.weight"
    weights = weights | {f"{Q_PROJ}.weight": weights[f"{Q_PROJ}.weight"] * np.float32(1.1), norm: weights[norm] * np.float32(1.2)}
    report = check_submission(write_model(tmp_path / "f", weights), base)
    found = report.provenance
    assert report.ok and (found.matrices, found.vectors) == (1, 1)
    assert math.isclose(found.median, 0.1, rel_tol=1e-4) and math.isclose(found.vector_largest, 0.2, rel_tol=1e-4)
    assert found.largest_name == f"{Q_PROJ}.weight" and found.vector_largest_name == norm
    assert "norms and biases up to 0.2" in report.notes[-1]


def test_values_that_overflow_when_multiplied_are_far_from_the_base_and_no_failure(base, tmp_path):
    weights = {name: np.full(values.shape, 3e38, np.float32) for name, values in adapter_weights(1).items()}
    for number, config in enumerate(({}, {"use_dora": True})):
        more = {f"base_model.model.{Q_PROJ}.lora_magnitude_vector": np.zeros(shapes()[f"{Q_PROJ}.weight"][0], np.float32)}
        report = check_submission(write_adapter(tmp_path / str(number), weights | (more if config else {}), config), base)
        assert [problem.code for problem in report.problems] == ["not_a_finetune"]


@pytest.mark.parametrize(
    "found",
    [
        Provenance(matrices=100, largest=LARGEST + 0.01),
        Provenance(matrices=100, high=HIGH + 0.01, largest=HIGH + 0.01),
        Provenance(matrices=100, beyond=26, largest=BEYOND + 0.01),
        Provenance(vectors=1, vector_largest=VECTOR_LARGEST + 0.01),
    ],
)
def test_each_figure_alone_refuses(found):
    problem = provenance_problem(found)
    assert problem is not None and problem.code == "not_a_finetune" and problem.hint


def test_one_matrix_of_a_few_may_move_far():
    assert provenance_problem(Provenance(matrices=2, beyond=1, median=0.3, high=HIGH, largest=HIGH)) is None


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module."])
def test_a_known_sibling_is_known_under_any_names(base, tmp_path, prefix):
    sibling = {
        name: (w + 0.1 * random_weights(5)[name] * (w.ndim > 1)).astype(np.float32) for name, w in random_weights(0).items()
    }
    other = read_base(write_model(tmp_path / "sibling", sibling))
    handed = write_model(tmp_path / "handed", {f"{prefix}{name}": w for name, w in sibling.items()})
    assert check_submission(handed, base).ok
    found = resembles(handed, read_base(base), {"sibling": other})
    assert found is not None and found.cosine > 0.99


def test_a_sibling_s_matrix_that_an_adapter_brings_whole_is_known(base, tmp_path):
    whole = random_weights(0)[f"{Q_PROJ}.weight"] + 0.1 * random_weights(5)[f"{Q_PROJ}.weight"]
    other = read_base(write_model(tmp_path / "sibling", random_weights(0) | {f"{Q_PROJ}.weight": whole.astype(np.float32)}))
    weights = {f"base_model.model.{Q_PROJ}.weight": whole.astype(np.float32)}
    handed = write_adapter(tmp_path / "handed", weights, {"modules_to_save": ["layers.0.self_attn.q_proj"]})
    assert check_submission(handed, base).ok
    assert resembles(handed, read_base(base), {"sibling": other}) is not None


def test_a_matrix_that_an_adapter_brings_whole_is_measured_like_any_other(base, tmp_path):
    weights = {f"base_model.model.{Q_PROJ}.weight": random_weights(9)[f"{Q_PROJ}.weight"]}
    report = check_submission(write_adapter(tmp_path / "a", weights, {"modules_to_save": ["q_proj"]}), base)
    assert [problem.code for problem in report.problems] == ["not_a_finetune"]
