"""Scores answers to chemistry/mol_edit: did the named functional groups of the source molecule change exactly as asked?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import as_object

from ...shared.molecules import answer_molecule, canonical, extract_smiles, group_count, molecule, similarity, source_molecule

SUBSET_METRICS = {"add": "success_rate", "delete": "success_rate", "sub": "success_rate"}
LOWER_IS_BETTER = frozenset({"mixture_rate"})

_KEYS = ("output", "Final Target Molecule")
# What each sub-set asks for: field of `meta` with the group's name → change of its count.
_CHANGES = {"add": {"added_group": 1}, "delete": {"removed_group": -1}, "sub": {"removed_group": -1, "added_group": 1}}


def subset_of(row: Mapping[str, Any]) -> str:
    """A row names its sub-set as ``subtask``."""
    return str(row["subtask"] if row.get("subtask") else row["subset"])


def extract(response: str) -> str | None:
    """The text that is given as the edited molecule, or ``None``."""
    return extract_smiles(response, _KEYS)


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """Score one answer: 1 if it is valid and every named group's count changed by exactly what was asked.

    Side figures: ``valid_rate`` over all items; over valid answers ``similarity`` to the source (Tanimoto) and
    ``mixture_rate``, which show edits that are really another molecule.
    """
    source = molecule(source_molecule(str(row["query"])))
    if source is None:
        raise ValueError("the source molecule has a wildcard")
    meta = as_object(row["meta"])
    wanted = [(group_name(meta[field]), change) for field, change in _CHANGES[subset].items()]
    before = [group_count(source, group) for group, _ in wanted]
    text = extract(response)
    answer = answer_molecule(text)
    if answer is None:
        return {"parsed": text is not None, "value": text, "score": 0.0, "metrics": {"valid_rate": 0.0}}
    right = all(group_count(answer, group) - n == change for (group, change), n in zip(wanted, before, strict=True))
    metrics = {"valid_rate": 1.0, "similarity": similarity(answer, source), "mixture_rate": float("." in canonical(answer))}
    return {"parsed": True, "value": text, "score": float(right), "metrics": metrics}


def group_name(value: Any) -> str:
    """A group's name as the table of groups writes it: small letters, ``_`` for white space."""
    return "_".join(str(value).lower().split())


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every reference answer that occurs, and ethanol where the rows have none."""
    known = [as_object(item["row"]["meta"]).get("reference") for item in items]
    return list(dict.fromkeys(f'{{"output": "{smiles}"}}' for smiles in (*known, "CCO") if smiles))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}
