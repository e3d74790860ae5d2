"""Properties against figures worked out by hand from published contributions."""

from __future__ import annotations

import importlib.util

import pytest

from harness.spec.errors import GraderFailure
from tasks.chemistry.shared.molecules import group_count, molecule, parse, same_molecule, scaffold_similarity
from tasks.chemistry.shared.properties import longest_ring, penalised_logp, property_of, qed, solubility


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        # 0.2612 − 0.74167·(−0.0014) − 0.00661·46.069
        ("CCO", -0.0423),
        # 0.2612 − 0.74167·1.6866 − 0.00661·78.114 − 0.42625
        ("c1ccccc1", -1.9323),
        # 0.2612 − 0.74167·0.6361 − 0.00661·16.043
        ("C", -0.3166),
        # 0.2612 − 0.74167·1.8064 − 0.00661·58.124 + 0.00345·1
        ("CCCC", -1.4593),
        # Toluene: 1.99502, 92.141, six of seven atoms aromatic.
        ("Cc1ccccc1", -2.1928),
    ],
)
def test_solubility_is_the_benchmark_s_formula(smiles: str, expected: float) -> None:
    assert solubility(molecule(smiles)) == pytest.approx(expected, abs=2e-4)


def test_penalised_logp_is_the_sum_of_its_normalised_parts() -> None:
    # Benzene: logP 1.6866, accessibility 1, no long ring.
    expected = (1.6866 - 2.4570953) / 1.4343244 + (-1 + 3.0525811) / 0.8335207 + 0.0485697 / 0.2860212
    assert penalised_logp(molecule("c1ccccc1")) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("smiles", "ring"), [("CCO", 0), ("C1CC1", 3), ("c1ccccc1", 6), ("C1CCCCCCC1", 8), ("c1ccccc1-c1ccccc1", 6)]
)
def test_the_longest_ring_is_that_of_the_cycle_basis(smiles: str, ring: int) -> None:
    assert longest_ring(molecule(smiles)) == ring


def test_a_ring_of_eight_costs_two_normalised_steps() -> None:
    from rdkit.Chem import Crippen

    from tasks.chemistry.shared.properties import _accessibility_scorer

    mol = molecule("C1CCCCCCC1")
    other = (Crippen.MolLogP(mol) - 2.4570953) / 1.4343244 + (
        -_accessibility_scorer().calculateScore(mol) + 3.0525811
    ) / 0.8335207
    assert penalised_logp(mol) - other == pytest.approx((-2 + 0.0485697) / 0.2860212, abs=1e-4)


def test_qed_of_known_drugs_is_as_published() -> None:
    # RDKit's documentation of its QED module and the usual tables: paracetamol 0.595, aspirin 0.550.
    assert qed(molecule("CC(=O)Nc1ccc(O)cc1")) == pytest.approx(0.595, abs=2e-3)
    assert qed(molecule("CC(=O)Oc1ccccc1C(=O)O")) == pytest.approx(0.550, abs=2e-3)


@pytest.mark.skipif(importlib.util.find_spec("tdc") is not None, reason="TDC is installed here")
def test_a_target_without_tdc_is_a_grader_failure_that_names_the_remedy() -> None:
    with pytest.raises(GraderFailure) as failure:
        property_of("gsk")
    assert "PyTDC" in failure.value.message and "gsk3b" in failure.value.hint
    with pytest.raises(ValueError, match="colour"):
        property_of("colour")


@pytest.mark.parametrize("text", ["", " ", "C C", "CCO ethanol", "C\0", "\ud800", "Ç", "C(", "C" * 1001, "C1CC", "c1cccc1"])
def test_what_is_no_smiles_is_no_molecule(text: str) -> None:
    assert parse(text) is None and molecule(text) is None


def test_a_wildcard_parses_and_is_no_molecule() -> None:
    assert parse("*C") is not None and molecule("*C") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("OCC", "CCO", True),
        ("c1ccccc1", "C1=CC=CC=C1", True),
        ("CCO", "COC", False),
        ("C/C=C/C", r"C/C=C\C", False),
        ("CC=O.O", "O.CC=O", True),
        ("[NH4+].[Cl-]", "Cl.N", True),  # InChI moves protons between salts' parts
        ("CC(O)=CC", "CCC(C)=O", False),  # keto and enol are two InChIs
        ("[Na+].[OH-]", "[Na]O", True),
        ("CCO", "CCCO", False),
        ("*C", "C*", True),  # no InChI: canonical SMILES decide
        ("*C", "*N", False),
    ],
)
def test_molecules_are_the_same_by_inchi(one: str, other: str, same: bool) -> None:
    assert same_molecule(parse(one), parse(other)) is same


@pytest.mark.parametrize(
    ("group", "smiles", "count"),
    [
        ("benzene", "c1ccccc1-c1ccccc1", 2),
        ("benzene", "c1ccc2ccccc2c1", 0),  # fused atoms are in two rings
        ("hydroxyl", "OCC(O)CO", 3),
        ("aldehyde", "CC=O", 1),
        ("ketone", "CC(C)=O", 1),
        ("ketone", "CC=O", 0),
        ("carboxyl", "CC(=O)O", 1),
        ("ester", "CC(=O)OC", 1),
        ("anhydride", "CC(=O)OC(C)=O", 1),
        ("amine", "CN", 1),
        ("amine", "CN(C)C", 0),
        ("amine", "CC(=O)NC", 0),
        ("amide", "CC(=O)NC", 1),
        ("nitro", "C[N+](=O)[O-]", 1),
        ("halo", "FC(Cl)(Br)I", 4),
        ("thiol", "CS", 1),
        ("thioether", "CSC", 2),  # the pattern is a sulphur with one carbon: both sides match
        ("disulfide", "CSSC", 1),
        ("sulfide", "CSC", 1),
        ("sulfide", "CSSC", 1),
        ("sulfoxide", "CS(C)=O", 1),
        ("sulfone", "CS(C)(=O)=O", 1),
        ("nitrile", "CC#N", 1),
        ("borane", "CB(C)C", 1),
    ],
)
def test_groups_are_counted_by_the_benchmark_s_patterns(group: str, smiles: str, count: int) -> None:
    assert group_count(molecule(smiles), group) == count


def test_scaffolds_of_chains_are_alike_and_unlike_those_of_rings() -> None:
    chain, other, ring = (molecule(s) for s in ("CCO", "CCCCN", "CCc1ccccc1"))
    assert scaffold_similarity(chain, other) == 1 and scaffold_similarity(chain, ring) == 0
    assert scaffold_similarity(ring, molecule("Oc1ccccc1")) == 1
