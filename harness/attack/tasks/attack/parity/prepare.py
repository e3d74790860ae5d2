"""Numbers and whether they are even: the ground of the attack suite, ten items a split."""

from harness.taskkit.building.data import BuildContext, Item, Source, SourceRow, TaskData


def build(profile: str, context: BuildContext) -> TaskData:
    """Draw disjoint numbers for every split; ids are drawn too and say nothing."""
    rng, secret = context.rng("numbers"), context.rng("hidden")
    numbers = rng.sample(range(100_000, 499_999), 50)
    names = rng.sample(range(10**8, 5 * 10**8), 20)
    items = [item(n, name) for n, name in zip(numbers[:20], names, strict=True)]
    drawn = zip(secret.sample(range(500_000, 999_999), 10), secret.sample(range(5 * 10**8, 10**9), 10), strict=True)
    rows = [SourceRow({"problem": question(n), "answer": word(n)}, question(n)) for n in numbers[20:]]
    return TaskData(
        dev=items[:10],
        hidden=[item(n, name) for n, name in drawn],
        few_shot=items[10:],
        sources=[Source("numbers", "numbers with their parity", "CC0", rows)],
    )


def question(n: int) -> str:
    """The question about a number."""
    return f"Is {n} even or odd?"


def word(n: int) -> str:
    """The answer."""
    return "even" if n % 2 == 0 else "odd"


def item(n: int, name: int) -> Item:
    """One item."""
    row = {"question": question(n), "answer": word(n)}
    return Item(f"i{name}", "parity", "parity", question(n), word(n), row, text=question(n), answer=f"\\boxed{{{word(n)}}}")
