from __future__ import annotations

from collections import Counter
from pathlib import Path

from tasks.chemistry.shared.compounds import TABLE, short_compounds, split_of


def test_a_molecule_is_listed_once_as_canonical_smiles_and_odd_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / TABLE
    path.parent.mkdir(parents=True)
    smiles = ["OCC", "CCO", "C1=CC=CC=C1", "[Na+].[Cl-]", "C[C@H](O)N", "C(C", "CCCCCCCCCCCC", "CC#N"]
    path.write_text("".join(f"{n}\t-\t-\t-\t{s}\tname\n" for n, s in enumerate(smiles)), encoding="utf-8")
    assert short_compounds(tmp_path, 10) == ["CC#N", "CCO", "c1ccccc1"]


def test_every_molecule_has_one_split_for_good_and_the_shares_hold() -> None:
    assert [split_of(s) for s in ("CCO", "CC#N", "c1ccccc1", "C")] == [split_of(s) for s in ("CCO", "CC#N", "c1ccccc1", "C")]
    shares = Counter(split_of("C" * n) for n in range(1, 1601))
    expected = {"hidden": 4 / 16, "dev": 2 / 16, "few_shot": 1 / 16, "sources": 9 / 16}
    assert all(abs(shares[name] / 1600 - share) < 0.04 for name, share in expected.items())
