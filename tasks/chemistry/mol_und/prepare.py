"""Data of chemistry/mol_und. ``mini``: RDKit's answers about packaged compounds. ``full``: ChemCoTBench and ChemCoTDataset."""

from __future__ import annotations

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.chemcot import ChemCotTask, full_data, mini_splits
from ..shared.compounds import CHEMICALS
from ..shared.subjects import mentions as mentions
from ..shared.subjects import subjects as subjects
from .compounds import read_compounds
from .questions import KINDS, SUBSETS, Questions
from .sources import NATIVE_KEYS, crowd, curated, extracted
from .upstream import answer_of, molecules_in

TASK = ChemCotTask(
    name="mol_und",
    subsets=SUBSETS,
    # The training set has no questions about equivalence.
    taught=tuple(subset for subset in SUBSETS if subset != "equivalence"),
    native=NATIVE_KEYS,
    molecules_of=molecules_in,
    gold_of=lambda row: row["gt"],
    right_answer=answer_of,
)


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile == "mini":
        return _mini(context)
    if profile == "full":
        return full_data(TASK, context)
    raise UsageError(f"chemistry/mol_und has no profile {profile!r}", hint="mini or full")


def _mini(context: BuildContext) -> TaskData:
    folder = context.package(CHEMICALS)
    context.log("reading the compound table")
    compounds = read_compounds(folder)
    splits = mini_splits(TASK, context, KINDS, lambda split, rng: Questions(compounds, split, rng))
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


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (CHEMICALS,), "full": (TASK.bench, TASK.cot)}
