"""Scores answers to chemistry/mol_opt: has the answer more of the named property than the source molecule?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import as_object

from ...shared.molecules import (
    answer_molecule,
    canonical,
    extract_smiles,
    molecule,
    scaffold_similarity,
    similarity,
    source_molecule,
)
from ...shared.properties import property_of

SUBSET_METRICS = dict.fromkeys(("drd", "gsk", "jnk", "qed", "logp", "solubility"), "success_rate")
LOWER_IS_BETTER = frozenset({"mixture_rate"})

_KEYS = ("output", "Final Target Molecule")
# Less than this is rounding, no improvement.
_LEAST = 1e-9
# How like the source an improvement must be to be an optimised source and not just another molecule: the usual bound of
# similarity-constrained optimisation. It decides a side figure only.
_SIMILAR = 0.4
# What the benchmark calls a good improvement.
_THRESHOLD = {"drd": 0.3, "gsk": 0.3, "jnk": 0.3, "qed": 0.3, "logp": 0.5, "solubility": 0.5}


def subset_of(row: Mapping[str, Any]) -> str:
    """A row names its sub-set as ``subtask``."""
    return str(row["subtask"] if row.get("subtask") else row["subset"])


def extract(response: str) -> str | None:
    """The text that is given as the improved molecule, or ``None``."""
    return extract_smiles(response, _KEYS)


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """Score one answer: 1 if it is valid, another molecule than the source, and has more of the property.

    Side figures over all items: ``valid_rate``, ``threshold_rate`` (share over the benchmark's threshold) and
    ``similar_success_rate`` (success by a molecule at least 0.4 similar to the source). Over valid answers: ``improvement``,
    ``similarity`` and ``scaffold_similarity`` to the source, ``mixture_rate``.

    Raises:
        GraderFailure: what measures the property is not installed, whatever the answer.
    """
    measure = property_of(subset)
    source = molecule(source_molecule(str(row["query"])))
    if source is None:
        raise ValueError("the source molecule has a wildcard")
    text = extract(response)
    answer = answer_molecule(text)
    if answer is None:
        metrics = {"valid_rate": 0.0, "threshold_rate": 0.0, "similar_success_rate": 0.0}
        return {"parsed": text is not None, "value": text, "score": 0.0, "metrics": metrics}
    same = canonical(answer) == canonical(source)
    gain = 0.0 if same else measure(answer) - measure(source)
    success, likeness = float(gain > _LEAST), similarity(answer, source)
    metrics = {
        "valid_rate": 1.0,
        "threshold_rate": float(gain >= _THRESHOLD[subset]),
        "improvement": gain,
        "similar_success_rate": success * float(likeness >= _SIMILAR),
        "similarity": likeness,
        "scaffold_similarity": scaffold_similarity(answer, source),
        "mixture_rate": float("." in canonical(answer)),
    }
    return {"parsed": True, "value": text, "score": success, "metrics": metrics}


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The known improvements of the items, where their rows have one, and a few molecules that are good at one property."""
    known = [as_object(item["row"].get("meta") or "{}").get("reference") for item in items]
    good = ("OCC(O)C(O)CO", "CCCCCCCCCC", "CC(=O)Nc1ccc(O)cc1")
    return list(dict.fromkeys(f'{{"output": "{smiles}"}}' for smiles in (*good, *known) if smiles))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}
