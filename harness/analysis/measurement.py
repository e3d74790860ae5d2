"""From runs to measurements: which runs count, in which setting they were made, and what was scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from harness.spec.base import Spec
from harness.spec.errors import UsageError
from harness.spec.result import Reference, RunResult
from harness.spec.summary import ItemSet, RunSummary, Setting, Summaries, digest, gather, mean_is, setting_of, unpack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Items", "LeftOut", "Measurement", "Measurements", "Setting", "measurements_from", "require_same_items", "setting_of"]


class Items:
    """The items that runs were scored on, with the values of those runs; runs on the same ones share it.

    Attributes:
        ids: sorted.
        subsets: the sub-set of each item, in the order of ``ids``.
    """

    def __init__(self, ids: tuple[str, ...], subsets: tuple[str, ...]) -> None:
        self.ids, self.subsets = ids, subsets
        self._packed: list[bytes] = []
        self._scores: dict[int, bytes] = {}

    def add(self, values: bytes, scores: bytes = b"") -> int:
        """Take in a run's packed values, and its item scores where they are others; return their row in `table`."""
        if scores:
            self._scores[len(self._packed)] = scores
        self._packed.append(values)
        return len(self._packed) - 1

    def scores(self, row: int) -> NDArray[np.float64]:
        """Return the item scores of the run in a row of `table`, in the order of ``ids``."""
        import numpy as np

        found = self._scores.get(row)
        return self.table[row] if found is None else np.frombuffer(found, dtype="<f8").astype(np.float64, copy=False)

    @cached_property
    def table(self) -> NDArray[np.float64]:
        """The values, a row a run and a column an item; complete when it is first asked for."""
        import numpy as np

        values = np.frombuffer(b"".join(self._packed), dtype="<f8").reshape(len(self._packed), len(self.ids))
        return values.astype(np.float64, copy=False)

    @cached_property
    def digest(self) -> str:
        """Names the item set in messages."""
        return digest(*self.ids)


class Measurement(NamedTuple):
    """One run that counts, as the statistics see it. There may be a hundred thousand, so what runs share they share.

    Attributes:
        agent: its name, with what tells the variant apart where it is one: ``ft_agent feedback=false``.
        agent_digest: of the agent's directory and parameters: another digest is another agent.
        items: what it was scored on; row ``row`` of its table holds the item scores or jackknife pseudo-values.
        flagged: agent_integrity: stands at its grade, and at the base model's score at most.
        created: ISO 8601, UTC.
        tokens: charged at the backbone; ``dollars`` the same.
        silent: never called the backbone that its agent requires.
    """

    run: str
    batch: str
    agent: str
    agent_digest: str
    task: str
    seed: int
    setting: Setting
    primary: float
    metric: str
    ci_low: float
    ci_high: float
    items: Items
    row: int
    flagged: bool = False
    references: tuple[Reference, ...] = ()
    created: str = ""
    tokens: int = 0
    dollars: float = 0.0
    silent: bool = False

    @property
    def item_values(self) -> dict[str, float]:
        """Item id → score or jackknife pseudo-value."""
        return dict(zip(self.items.ids, self.items.table[self.row].tolist(), strict=True))

    @property
    def item_subsets(self) -> dict[str, str]:
        """Item id → sub-set."""
        return dict(zip(self.items.ids, self.items.subsets, strict=True))

    @property
    def items_digest(self) -> str:
        """Of the item ids, to name an item set in messages."""
        return self.items.digest


class LeftOut(Spec):
    """A run that is no measurement, and why."""

    run: str
    agent: str
    task: str
    reason: str


class Measurements(NamedTuple):
    """The runs that count, those that do not, and what a reader must be told."""

    measurements: tuple[Measurement, ...]
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()


def measurements_from(runs: Summaries | Iterable[RunResult]) -> Measurements:
    """Turn runs into measurements.

    Runs whose outcome does not count, that somebody excluded and those without a grade are left out and listed.
    ``agent_integrity`` runs have their own item scores, or the base model's where those are less, and are flagged.

    Args:
        runs: results, or summaries as a store keeps them.

    Raises:
        UsageError: a grade lacks the sub-set of an item on a task with several sub-sets, or the base reference has no item scores
            although a flagged run needs them.
    """
    found = runs if isinstance(runs, Summaries) else gather(runs)
    kept: list[Measurement] = []
    left: list[LeftOut] = []
    warnings: dict[str, None] = {}
    items = _Subsets(found)
    settings, references = found.settings, found.references
    for row in found.runs:
        if row.why_not:
            left.append(LeftOut(run=row.run, agent=row.agent, task=row.task, reason=row.why_not))
            continue
        if row.problem:
            hint = f"`dojo grade {row.run} --again` measures the references of {row.task} anew"
            raise UsageError(row.problem, hint=hint)
        of_run = items.of(row)
        if not row.is_mean and not _mean_of(row, of_run):
            warnings[
                f"{row.task}: {row.metric} is not the mean of the stored item scores and no pseudo-values are stored; "
                "intervals are approximate (`dojo grade RUN --again` stores them)"
            ] = None
        kept.append(
            Measurement(
                row.run, row.batch, row.agent, row.agent_digest, row.task, row.seed, settings[row.setting],
                row.primary, row.metric, row.ci_low, row.ci_high,
                of_run, of_run.add(row.values, row.scores), bool(row.flagged), references[row.references], row.created,
                row.tokens, row.dollars, bool(row.silent),
            )
        )  # fmt: skip
    return Measurements(tuple(kept), tuple(left), tuple(warnings))


class _Subsets:
    """Finds the sub-sets of a run's items: a flagged run may have no grade of its own that says them."""

    def __init__(self, found: Summaries) -> None:
        self._found = found
        self._items: dict[tuple[str, str], Items] = {}
        self._of_setting: dict[tuple[str, str], Items] = {}
        self._known: dict[str, dict[str, str]] | None = None

    def of(self, row: RunSummary) -> Items:
        """Return the run's items; the same object for all runs scored on the same."""
        found = self._of_setting.get((row.items, row.setting))
        if found is None:
            data = self._found.settings[row.setting].data_digest
            said = self._found.item_sets[row.items]
            if (row.items, data) not in self._items:
                self._items[row.items, data] = Items(said.ids, self._resolve(said, row, data))
            found = self._of_setting[row.items, row.setting] = self._items[row.items, data]
        return found

    def _resolve(self, said: ItemSet, row: RunSummary, data: str) -> tuple[str, ...]:
        whole = tuple(subset for subset in said.subsets if subset is not None)
        if len(whole) == len(said.ids):
            return whole
        known = self._said_by_others(data)
        if all(item in known for item in said.ids):
            return tuple(known[item] for item in said.ids)
        if said.only_subset is None:
            raise UsageError(
                f"the grade of run {row.run} does not say which sub-set of {row.task} each item belongs to",
                hint=f"`dojo grade {row.run} --again` stores it",
            )
        return (said.only_subset,) * len(said.ids)

    def _said_by_others(self, data: str) -> Mapping[str, str]:
        """Gather what the grades on the same data say about the items' sub-sets."""
        if self._known is None:
            self._known = {}
            pairs = {(self._found.settings[row.setting].data_digest, row.items) for row in self._found.runs if row.items}
            for of_data, key in sorted(pairs):
                said = self._found.item_sets[key]
                known = self._known.setdefault(of_data, {})
                known.update({i: s for i, s in zip(said.ids, said.subsets, strict=True) if s is not None})
        return self._known.get(data, {})


def _mean_of(row: RunSummary, items: Items) -> bool:
    if row.is_mean is not None:
        return bool(row.is_mean)
    values = dict(zip(items.ids, unpack(row.values), strict=True))
    return bool(mean_is(row.primary, values, ItemSet(items.ids, items.subsets, None)))


def require_same_items(measurements: Sequence[Measurement]) -> None:
    """Check that all runs were scored on the same items.

    Items that were drawn with different secrets are different ones, though they are called the same.

    Raises:
        UsageError: they were not; names both digests.
    """
    first = measurements[0]
    for other in measurements[1:]:
        if other.setting.hidden != first.setting.hidden:
            raise UsageError(
                f"runs {first.run} and {other.run} on {first.task} were scored on different hidden splits: "
                f"drawn with {first.setting.hidden} and with {other.setting.hidden}",
                hint="compare runs of one secret only; `dojo data secret --set` takes over that of another installation",
            )
        if other.items is not first.items and other.items.ids != first.items.ids:
            raise UsageError(
                f"runs {first.run} and {other.run} on {first.task} were scored on different items: "
                f"{first.items_digest} ({len(first.items.ids)} items, data {first.setting.data_digest[:12]}) and "
                f"{other.items_digest} ({len(other.items.ids)} items, data {other.setting.data_digest[:12]})",
                hint="compare runs of one data digest only; run one of the agents again on the other's data",
            )
