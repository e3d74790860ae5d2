"""Data of chemistry/mol_und. ``mini``: RDKit's answers about packaged compounds. ``full``: ChemCoTBench and ChemCoTDataset."""

from __future__ import annotations

from typing import Any

from harness.assets.hub import HubData, read_rows
from harness.assets.task_data import BuildContext, Item, Source, SourceRow, TaskData, paper_split
from harness.spec.errors import SpecError, UsageError

from .compounds import CHEMICALS, read_compounds
from .questions import KINDS, SUBSETS, Question, Questions
from .sources import crowd, curated, extracted
from .upstream import answer_of, molecules_in

SUFFIX = '\nReply as {"output": ...}'
_PER_SUBSET = {"dev": 12, "hidden": 36, "few_shot": 2}

BENCH = HubData("OpenMol/ChemCoTBench", tuple(f"mol_und/{subset}.json" for subset in SUBSETS), "MIT")
# The training set has no questions about equivalence.
COT_SUBSETS = tuple(subset for subset in SUBSETS if subset != "equivalence")
COT = HubData("OpenMol/ChemCoTDataset", tuple(f"chemcotbench-cot/mol_und/{subset}.json" for subset in COT_SUBSETS), "MIT")


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    builders = {"mini": _mini, "full": _full}
    if profile not in builders:
        raise UsageError(f"chemistry/mol_und has no profile {profile!r}", hint="mini or full")
    return builders[profile](context)


def _mini(context: BuildContext) -> TaskData:
    folder = context.package(CHEMICALS)
    context.log("reading the compound table")
    compounds = read_compounds(folder)
    splits = {}
    for split, count in _PER_SUBSET.items():
        rng = context.rng(split)
        questions = Questions(compounds, split, rng)
        splits[split] = []
        for subset in SUBSETS:
            kinds = KINDS[subset]
            drawn = [questions.draw(kinds[n % len(kinds)], n // len(kinds)) for n in range(count)]
            splits[split] += [_item(split, question, n) for n, question in enumerate(drawn)]
        if split != "few_shot":
            rng.shuffle(splits[split])
    makers = {"curated": curated, "crowd": crowd, "extracted": extracted}
    return TaskData(
        dev=splits["dev"],
        hidden=splits["hidden"],
        few_shot=splits["few_shot"],
        sources=[make(compounds, context.rng(name)) for name, make in makers.items()],
        origin=[
            f"Mini profile: {len(compounds):,} real compounds with short SMILES from the compound table of {CHEMICALS.pin}.",
            "Every answer is computed by RDKit; questions are worded like ChemCoTBench's, but shorter.",
            "No molecule is asked about in more than one of: training sources, worked examples, dev, hidden.",
            "Ring systems and scaffolds are small molecules themselves; as answers they may occur in several splits.",
            "The sources are raw: wrong, repeated and useless rows, answers under several names, sub-sets spread unevenly.",
        ],
        licences={CHEMICALS.pin: CHEMICALS.licence, "RDKit (computes the answers)": "BSD-3-Clause"},
    )


def _item(split: str, question: Question, number: int) -> Item:
    name = "shot" if split == "few_shot" else split
    shown = question.answer if isinstance(question.answer, int) else f'"{question.answer}"'
    return Item(
        id=f"{name}-{question.subset}-{number:03d}",
        subset=question.subset,
        type=question.kind,
        prompt=question.text + SUFFIX,
        gold=question.answer,
        row={
            "id": f"{name}-{question.subset}-{number:03d}",
            "query": question.text,
            "task": "mol_und",
            "subtask": question.subset,
            "gt": str(question.answer),
            "meta": "{}",
        },
        keys=question.molecules,
        answer=f'{{"output": {shown}}}' if split == "few_shot" else "",
    )


def _full(context: BuildContext) -> TaskData:
    bench = context.hub(BENCH)
    rows = [row for file in BENCH.files for row in read_rows(bench.path(file)) if row.get("task", "mol_und") == "mol_und"]
    dev: list[Item] = []
    hidden: list[Item] = []
    for subset in SUBSETS:
        group = [row for row in rows if row.get("subtask") == subset]
        first, last = paper_split(len(group))
        dev += [_bench_item(subset, n, group[n]) for n in first]
        hidden += [_bench_item(subset, n, group[n]) for n in last]
    protected = {key for item in (*dev, *hidden) for key in item.keys}
    cot = context.hub(COT)
    raw = [row for file in COT.files for row in read_rows(cot.path(file))]
    return TaskData(
        dev=dev,
        hidden=hidden,
        few_shot=[_shot(subset, raw, protected) for subset in COT_SUBSETS],
        sources=[
            Source(
                "chemcot",
                "ChemCoTDataset, molecule understanding: questions with structured chains of thought.",
                COT.licence,
                [SourceRow(row, keys=molecules_in(row)) for row in raw],
            )
        ],
        origin=[
            "Benchmark: ChemCoTBench, mol_und; each sub-set shuffled with seed 42, first half dev, last half hidden.",
            "Training source: ChemCoTDataset, mol_und, minus rows that ask about a molecule of dev or hidden.",
        ],
        licences={BENCH.repo: BENCH.licence, COT.repo: COT.licence},
        fixed_split=True,
    )


def _bench_item(subset: str, number: int, row: dict[str, Any]) -> Item:
    query = str(row["query"])
    return Item(
        id=f"{subset}-{number:03d}",
        subset=subset,
        type=subset,
        prompt=query + SUFFIX,
        gold=row["gt"],
        row={key: row.get(key, "") for key in ("id", "query", "task", "subtask", "gt", "meta")},
        keys=molecules_in(row),
    )


def _shot(subset: str, raw: list[dict[str, Any]], protected: set[str]) -> Item:
    rows = (r for r in raw if r.get("subtask") == subset and answer_of(r))
    row = next((r for r in rows if molecules_in(r) and not protected & set(molecules_in(r))), None)
    if row is None:
        raise SpecError(f"ChemCoTDataset: no row of {subset} with an answer", hint="check the mirror's files")
    answer = answer_of(row)
    plain = {"id": str(row.get("id", "")), "query": row["query"], "task": "mol_und", "subtask": subset, "gt": answer, "meta": ""}
    shown = answer if subset in ("fg_count", "ring_count") else f'"{answer}"'
    return Item(
        id=f"shot-{subset}",
        subset=subset,
        type=subset,
        prompt=row["query"] + SUFFIX,
        gold=answer,
        row=plain,
        keys=molecules_in(row),
        answer=f'{{"output": {shown}}}',
    )


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (CHEMICALS,), "full": (BENCH, COT)}
