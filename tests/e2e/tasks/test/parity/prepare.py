"""Numbers and whether they are even: twelve items a split, for the harness's own tests."""

from harness.taskkit.building.data import BuildContext, Item, Source, SourceRow, TaskData


def build(profile: str, context: BuildContext) -> TaskData:
    """Draw disjoint numbers for every split."""
    numbers = context.rng("numbers").sample(range(100, 599), 68)
    items = [item(n) for n in numbers[:18]]
    rows = [SourceRow({"problem": f"{n}?", "answer": word(n)}, f"{n}?") for n in numbers[18:]]
    return TaskData(
        dev=items[:12],
        hidden=[item(n) for n in context.rng("hidden").sample(range(600, 999), 12)],
        few_shot=items[12:],
        sources=[Source("numbers", "numbers with their parity", "CC0", rows)],
    )


def word(n: int) -> str:
    """The answer."""
    return "even" if n % 2 == 0 else "odd"


def item(n: int) -> Item:
    """One question."""
    row = {"question": f"{n}?", "answer": word(n)}
    return Item(f"p{n * 7919 % 100003}", "parity", "parity", f"{n}?", word(n), row, text=f"{n}?", answer=f"\\boxed{{{word(n)}}}")
