"""The data card an agent and a person read: what there is, where it comes from, what was taken out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.assets.check_data import Removal
from harness.assets.task_dir import Task
from harness.taskkit.building.data import BuildContext, Item, Source, TaskData


def data_card(task: Task, context: BuildContext, data: TaskData, sources: Sequence[Source], removals: Sequence[Removal]) -> str:
    """Return ``card.md``. It is mounted in agents' sandboxes, so it says nothing about single evaluation items."""
    lines = [f"# Data of {task.id}, profile {context.profile}", "", task.dojo.summary, "", "## Splits", ""]
    for name, items in {"dev": data.dev, "hidden": data.hidden}.items():
        lines.append(f"- {name}: {len(items)} items ({_composition(items)})")
    lines += [f"- worked examples: {len(data.few_shot)} in `few_shot.jsonl`", "", "## Training sources", ""]
    for source, removal in zip(sources, removals, strict=True):
        lines += [
            f"### {source.name}",
            "",
            f"{source.description} Licence: {source.licence}. {len(source.rows):,} rows"
            + (f" with the fields {_fields(source)}." if source.rows else "."),
            "",
            f"Taken out because they overlap with dev or hidden: {removal.removed} of {removal.before:,}"
            + (f" ({', '.join(f'{n} {reason}' for reason, n in sorted(removal.reasons.items()))})" if removal.removed else "")
            + ".",
            "",
        ]
    lines += ["## Origin", "", *[f"- {sentence}" for sentence in data.origin], "", "## Licences", ""]
    lines += [f"- {name}: {licence}" for name, licence in data.licences.items()]
    return "\n".join(lines) + "\n"


def _composition(items: Sequence[Item]) -> str:
    counts = Counter(item.subset for item in items)
    if len(counts) == 1:
        counts = Counter(item.type for item in items)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _fields(source: Source) -> str:
    names = dict.fromkeys(key for row in source.rows[:200] for key in row.row)
    return ", ".join(f"`{name}`" for name in names)
