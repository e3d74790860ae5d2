"""Runs a model's plotting code in its own locked process and says, as plain numbers, what the figures' artists show.

Started by `figures` with the code on standard input. It knows no reference, so it can tell nothing but what was
drawn; whoever forges its report needs the right numbers for it, and could as well draw them. Everything it uses is bound before
the code runs.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

CPU_S = 20
READY = b"ready\n"
MAX_SERIES, MAX_VALUES = 500, 20_000


def main(result: int, own: str, libraries: list[str]) -> None:
    """Read code from standard input, run it, write one JSON line to the descriptor ``result``."""
    source = sys.stdin.buffer.read().decode("utf-8")
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot
        import pandas  # type: ignore[import-untyped, unused-ignore]
        from matplotlib.figure import Figure

        from harness.taskkit.scoring import lockdown

        os.chdir(own)
        figures = _remember_figures(Figure)
        read = _reader()
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")  # where memory runs out it is the code that goes, not the worker that holds the model
        lockdown.shut_in(own, libraries, CPU_S)
    except Exception as exc:
        os.write(result, json.dumps({"broken": f"{type(exc).__name__}: {exc}"}).encode() + b"\n")
        return
    del pandas, sys.path[0]
    for name in [n for n in sys.modules if n == "harness" or n.startswith("harness.")]:
        del sys.modules[name]
    dumps, write, leave = json.dumps, os.write, os._exit
    os.write(result, READY)
    error = _run(source)
    try:
        report = {"error": error} if error else {"series": read(figures)}
    except BaseException as exc:  # an artist that breaks when it is looked at
        report = {"error": f"unreadable figure: {type(exc).__name__}"}
    line = memoryview(dumps(report, allow_nan=False).encode() + b"\n")
    while line:
        line = line[write(result, line) :]
    leave(0)


def _run(source: str) -> str | None:
    """Run the code as a script; return what stopped it, or None where it ended normally."""
    try:
        exec(compile(source, "<answer>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
    except SystemExit as exc:
        return None if exc.code in (None, 0) else "SystemExit"
    except BaseException as exc:
        return type(exc).__name__
    return None


def _remember_figures(figure_class: Any) -> list[Any]:
    """Collect every figure that is made, so that one that the code closes is still looked at."""
    made: list[Any] = []
    original = figure_class.__init__

    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self)

    figure_class.__init__ = remember
    return made


def _reader() -> Callable[[list[Any]], list[dict[str, Any]]]:
    """Return the function that reads figures, with everything it needs bound now."""
    import numpy as typed
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.container import BarContainer, ErrorbarContainer, StemContainer
    from matplotlib.patches import Rectangle, StepPatch, Wedge

    numpy: Any = typed

    def numbers(values: Any) -> list[float | None]:
        flat = numpy.ma.filled(numpy.ma.asarray(values, dtype=float), numpy.nan).ravel()
        return [float(v) if math.isfinite(v) else None for v in flat]

    def bars(axes: Any) -> Iterator[tuple[str, Any]]:
        inside: set[int] = set()
        for container in axes.containers:
            if isinstance(container, BarContainer):
                inside.update(map(id, container.patches))
                flat = getattr(container, "orientation", "vertical") == "horizontal"
                yield "bar", [p.get_width() if flat else p.get_height() for p in container.patches]
        loose = [p for p in axes.patches if isinstance(p, Rectangle) and id(p) not in inside]
        loose = [p for p in loose if p.get_data_transform() == axes.transData]
        if loose:
            yield "bar", [p.get_height() for p in loose]

    def areas(axes: Any) -> Iterator[tuple[Any, Any, Any]]:
        for collection in axes.collections:
            if isinstance(collection, PolyCollection) and collection.get_paths():
                edge = numpy.asarray(collection.get_paths()[0].vertices)
                count = (len(edge) - 3) // 2
                if count > 0 and len(edge) == 2 * count + 3:
                    first, second = edge[1 : count + 1, 1], edge[count + 2 : 2 * count + 2, 1][::-1]
                    height = first if not second.any() else second if not first.any() else abs(second - first)
                    yield first, second, height

    def lines(axes: Any, outlines: list[Any]) -> Iterator[tuple[str, Any]]:
        marks: set[int] = set()
        for container in axes.containers:
            if isinstance(container, ErrorbarContainer):
                marks.update(map(id, container.lines[1]))
            elif isinstance(container, StemContainer):
                marks.add(id(container.baseline))
        for line in axes.lines:
            values = numpy.ma.asarray(line.get_ydata(orig=False), dtype=float)
            if id(line) in marks or not values.size or line.get_transform() != axes.transData:
                continue
            if not any(len(o) == len(values) and numpy.allclose(o, values) for o in outlines):
                yield ("radar" if axes.name == "polar" else "line"), values

    def wedges(axes: Any) -> Iterator[tuple[str, Any]]:
        rings: dict[float, list[float]] = {}
        for patch in axes.patches:
            if isinstance(patch, Wedge):
                rings.setdefault(round(float(patch.r), 6), []).append((patch.theta2 - patch.theta1) / 360.0)
        yield from (("pie", shares) for shares in rings.values())

    def drawn(axes: Any) -> Iterator[tuple[str, Any]]:
        yield from bars(axes)
        yield from wedges(axes)
        filled = list(areas(axes))
        yield from lines(axes, [edge for first, second, _ in filled for edge in (first, second)])
        yield from (("area", height) for _, _, height in filled)
        for collection in axes.collections:
            offsets = numpy.ma.asarray(collection.get_offsets())
            if isinstance(collection, PathCollection) and len(offsets):
                yield "scatter", offsets[:, 1]
        steps: list[Any] = [p for p in axes.patches if isinstance(p, StepPatch)]
        yield from (("steps", p.get_data().values) for p in steps)

    def read(figures: list[Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for place, axes in enumerate(axes for figure in figures for axes in figure.get_axes()):
            found += [{"axes": place, "kind": kind, "values": numbers(values)} for kind, values in drawn(axes)]
        if len(found) > MAX_SERIES or sum(len(s["values"]) for s in found) > MAX_VALUES:
            raise ValueError("too much was drawn")
        return found

    return read
