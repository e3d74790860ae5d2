"""Tasks over BioProBench: its rows, the profiles made from the hub's files, and how a row becomes an item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.spec.errors import SpecError
from harness.taskkit.building.data import BuildContext, Item, Source, SourceRow, TaskData
from harness.taskkit.building.hub import HubData, read_rows
from harness.taskkit.building.overlap import normalised

REPOSITORY = "bowenxian/BioProBench"
LICENCE = "CC-BY-4.0"
_SHOTS = 4

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ProtocolTask:
    """What is particular to one of the protocol tasks.

    Attributes:
        subset: the one sub-set, which is the name of BioProBench's file in small letters.
        prompt: a row's whole question.
        gold_of: what an item shows as its gold answer.
        answer_of: a row's gold answer in the asked form.
        text_of: the question as prose, for finding repetitions.
        keys_of: what no two splits may share, besides the words of the question.
        check: raises `ValueError`, `KeyError` or `TypeError` on a row that cannot be asked and scored.
    """

    subset: str
    prompt: Callable[[Row], str]
    gold_of: Callable[[Row], Any]
    answer_of: Callable[[Row], str]
    text_of: Callable[[Row], str]
    keys_of: Callable[[Row], tuple[str, ...]]
    check: Callable[[Row], object]

    @property
    def data(self) -> HubData:
        """The benchmark's files: the public test set and the training set of the same form."""
        name = self.subset.upper()
        return HubData(REPOSITORY, (f"{name}_test.json", f"{name}.json"), LICENCE)

    def item(self, name: str, row: Row, *, answered: bool = False, keys: tuple[str, ...] = ()) -> Item:
        """Make an item of a row.

        Args:
            name: its id.
            row: in the benchmark's layout.
            answered: whether it is a worked example.
            keys: what a generated row is told apart by, instead of its words, which all generated rows share.
        """
        return Item(
            id=name,
            subset=self.subset,
            type=str(row.get("type") or self.subset),
            prompt=self.prompt(row),
            gold=self.gold_of(row),
            row=dict(row),
            text="" if keys else self.text_of(row),
            keys=keys or self.keys_of(row),
            answer=self.answer_of(row) if answered else "",
        )

    def fits(self, row: Row) -> bool:
        """Whether a row can be asked and scored."""
        try:
            self.check(row)
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def source_row(self, row: dict[str, Any]) -> SourceRow:
        """A training row as it is handed out, with what it would share with dev and hidden as far as it can be read."""
        try:
            return SourceRow(row, self.text_of(row), self.keys_of(row))
        except (ValueError, KeyError, TypeError, AttributeError):
            return SourceRow(row, " ".join(str(value) for value in row.values() if value))


def build_from_hub(context: BuildContext, task: ProtocolTask) -> TaskData:
    """Build the profile ``full`` or ``strict``: dev and hidden from the test file, the source from the training file.

    Raises:
        MissingError: a file cannot be had.
        SpecError: no training row can serve as a worked example.
    """
    fetched = context.hub(task.data)
    tests, training = (read_rows(fetched.path(file)) for file in task.data.files)
    fit = [row for row in tests if task.fits(row)]
    dev, hidden = context.split([task.item(f"{task.subset}-{n:04d}", row) for n, row in enumerate(fit)])
    protected = {key for item in (*dev, *hidden) for key in item.keys} | {normalised(item.text) for item in (*dev, *hidden)}
    return TaskData(
        dev=dev,
        hidden=hidden,
        few_shot=_worked_examples(training, protected, task),
        sources=[
            Source(
                "bioprobench",
                f"BioProBench {task.subset.upper()}, training file: tasks that a language model made from published protocols.",
                LICENCE,
                [task.source_row(row) for row in training],
            )
        ],
        origin=[
            f"Benchmark: BioProBench {task.subset.upper()}, public test file, {len(fit)} rows.",
            context.split_rule(),
            f"Left out before the split: {len(tests) - len(fit)} rows that cannot be asked or scored as they stand.",
            "Training source: its training file, minus rows that repeat a question of dev or hidden or the steps it is about.",
            "Rows do not name their protocol, so that other rows of a protocol of dev or hidden may be in the source.",
        ],
        licences={REPOSITORY: LICENCE},
        fixed_split=not context.strict,
    )


def steps_key(steps: object) -> tuple[str, ...]:
    """Key of a set of steps, in whatever order they stand; none where there are no steps."""
    texts = sorted(normalised(str(step)) for step in steps) if isinstance(steps, list) else []
    return (f"steps {' | '.join(texts)}",) if any(texts) else ()


def _worked_examples(training: list[dict[str, Any]], protected: set[str], task: ProtocolTask) -> list[Item]:
    """The first training rows that stand in no split: one of each question type in turn, four in all."""
    found: list[Item] = []
    most = 1
    while len(found) < _SHOTS and most <= _SHOTS:
        for row in training:
            counts = Counter(item.type for item in found)
            if len(found) == _SHOTS or not task.fits(row) or counts[str(row.get("type") or task.subset)] >= most:
                continue
            item = task.item(f"shot-{len(found)}", row, answered=True)
            marks = {*item.keys, normalised(item.text)}
            if not protected & marks:
                protected |= marks
                found.append(item)
        most += 1
    if not found:
        raise SpecError(
            f"{REPOSITORY}: no training row of {task.subset} fit for a worked example", hint="check the mirror's files"
        )
    return found
