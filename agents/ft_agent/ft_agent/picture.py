"""The run as a picture: scores over time, phases, champion, and what came to nothing. Plain SVG, readable without colours."""

from __future__ import annotations

import math
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from ft_agent.figures import ReportFacts
from ft_agent.plan import Iteration

WIDTH, HEIGHT = 860, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 34, 92
PHASES = {"probe": "#eef3fa", "exploit": "#e8f5e9", "polish": "#fdf3e1"}
INK, BLUE, RED, GREY = "#222", "#1b6ca8", "#b3362b", "#8a8a8a"
CHAMPION = f'fill="none" stroke="{BLUE}" stroke-width="2.5" stroke-opacity="0.55"'
BASE = f'fill="none" stroke="{GREY}" stroke-dasharray="6 4"'
# More numbers than this run into each other; then only those of champions are written.
MOST_NUMBERS = 25
# A band narrower than its name (in pixels a letter) goes unnamed.
LETTER = 8.0


class Axes:
    """Where seconds and scores lie."""

    def __init__(self, seconds: float, best: float) -> None:
        self.seconds = max(1.0, seconds)
        # a step of the grid, and as many of them as the best score needs with room for its number
        self.step = _nice(max(best, 0.05) * 1.1, 5)
        self.top = min(1.0, math.ceil(max(best, 0.05) * 1.1 / self.step - 1e-9) * self.step)
        self.unit, self.unit_seconds = _unit(self.seconds)

    def x(self, seconds: float) -> float:
        """Pixels from the left."""
        return LEFT + min(1.0, max(0.0, seconds / self.seconds)) * (WIDTH - LEFT - RIGHT)

    def y(self, score: float) -> float:
        """Pixels from the top."""
        return HEIGHT - BOTTOM - min(1.0, max(0.0, score / self.top)) * (HEIGHT - TOP - BOTTOM)


def score_plot(facts: ReportFacts) -> str:
    """Draw own (hollow) and dev (filled) scores, the champion's line, the base model's, the phases and what came to nothing."""
    scores = [s.value for i in facts.iterations for s in (i.own, i.dev) if s] + ([facts.base.value] if facts.base else [])
    axes = Axes(max([facts.seconds, *facts.at.values()]), max(scores, default=1.0))
    placed = [i for i in facts.iterations if i.number in facts.at]
    parts = [
        *_bands(axes, facts, placed),
        *_grid(axes),
        *_base(axes, facts),
        *_champion(axes, facts, placed),
        *(line for i in placed for line in _points(axes, facts.at[i.number], i, len(placed))),
        *_legend(),
    ]
    said = f"Scores of {len(facts.iterations)} iterations over {facts.seconds:.0f} seconds"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}" role="img" aria-label={quoteattr(said)}>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _bands(axes: Axes, facts: ReportFacts, placed: list[Iteration]) -> list[str]:
    parts, begun = [], 0.0
    for phase, group in groupby(placed, key=lambda i: i.plan.phase):
        ended = facts.at[list(group)[-1].number]
        x, width = axes.x(begun), axes.x(ended) - axes.x(begun)
        parts.append(
            f'<rect class="phase" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}" '
            f'fill="{PHASES[phase]}"><title>{phase}</title></rect>'
        )
        if width > LETTER * len(phase):
            parts.append(_text(x + width / 2, TOP - 8, phase, "middle"))
        begun = ended
    return parts


def _grid(axes: Axes) -> list[str]:
    parts = []
    step = axes.step
    for n in range(round(axes.top / step) + 1):
        y = axes.y(n * step)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{n * step:.3g}", "end"))
    ticks = _nice(axes.seconds / axes.unit_seconds, 8)
    for n in range(math.floor(axes.seconds / axes.unit_seconds / ticks) + 1):
        x = axes.x(n * ticks * axes.unit_seconds)
        parts.append(f'<line x1="{x:.1f}" y1="{HEIGHT - BOTTOM}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM + 5}" stroke="{INK}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{n * ticks:g}", "middle"))
    foot = HEIGHT - BOTTOM
    parts.append(f'<path d="M{LEFT} {TOP}V{foot}H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, foot + 36, f"{axes.unit} of the budget used", "middle"))
    middle = (TOP + foot) / 2
    parts.append(f'<text x="16" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 16 {middle:.1f})">score</text>')
    return parts


def _base(axes: Axes, facts: ReportFacts) -> list[str]:
    if facts.base is None:
        return []
    y = axes.y(facts.base.value)
    title = f"base model, own split {facts.base.value:.3f}"
    return [f'<path class="base" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" {BASE}><title>{title}</title></path>']


def _champion(axes: Axes, facts: ReportFacts, placed: list[Iteration]) -> list[str]:
    """Steps from champion to champion, by the score it was chosen for: the own split's, else dev's."""
    path, begun = "", facts.base
    if begun is not None:
        path = f"M{LEFT} {axes.y(begun.value):.1f}"
    for iteration in placed:
        score = iteration.own or iteration.dev
        if iteration.replaces and score:
            x, y = axes.x(facts.at[iteration.number]), axes.y(score.value)
            path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    if not path:
        return []
    path += f"H{WIDTH - RIGHT}"
    return [f'<path class="champion" d="{path}" {CHAMPION}/>']


def _points(axes: Axes, at: float, iteration: Iteration, count: int) -> list[str]:
    x = axes.x(at)
    told = f"iteration {iteration.number}, {iteration.plan.knob or iteration.plan.phase}"
    if iteration.own is None and iteration.dev is None:
        title = escape(f"{told}: {iteration.status}")
        return [_cross(x, HEIGHT - BOTTOM - 7, title)]
    parts, highest = [], float(HEIGHT)
    for score in (iteration.own, iteration.dev):
        if score is None:
            continue
        y, title = axes.y(score.value), escape(f"{told}: {score.split} {score.value:.3f}")
        highest = min(highest, y)
        parts.append(_diamond(x, y, title) if score.split == "dev" else _circle(x, y, title))
    if count <= MOST_NUMBERS or iteration.replaces:
        parts.append(_text(x, highest - 9, str(iteration.number), "middle", 11))
    return parts


def _legend() -> list[str]:
    y, x = HEIGHT - 18, LEFT + 6.0
    signs = (
        (0, "own split", _circle(x, y - 4, "")),
        (110, "dev split", _diamond(x + 110, y - 4, "")),
        (212, "champion (own split)", f'<path d="M{x + 200} {y - 4}h20" {CHAMPION}/>'),
        (392, "base model", f'<path d="M{x + 380} {y - 4}h20" {BASE}/>'),
        (510, "caught, failed or not measured", _cross(x + 510, y - 4, "")),
    )
    parts = [sign + _text(x + at + 14, y, name, "start") for at, name, sign in signs]
    return [f'<g class="legend">{"".join(parts)}</g>']


def _circle(x: float, y: float, title: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="white" stroke="{BLUE}" stroke-width="1.5"><title>{title}</title></circle>'
    )


def _diamond(x: float, y: float, title: str) -> str:
    return f'<path class="dev" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z" fill="{BLUE}"><title>{title}</title></path>'


def _cross(x: float, y: float, title: str) -> str:
    return (
        f'<path class="lost" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{RED}" stroke-width="2" fill="none">'
        f"<title>{title}</title></path>"
    )


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _nice(span: float, parts: int) -> float:
    """Return a step of 1, 2 or 5 times a power of ten, so that a span has about so many."""
    raw = span / parts
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw - 1e-12)


def _unit(seconds: float) -> tuple[str, float]:
    if seconds < 600:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)
