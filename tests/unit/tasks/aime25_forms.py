r"""Forms of a boxed 42, and whether each counts as 42: the table in the task's README, which a test holds against its grader.

``python -m tests.unit.tasks.aime25_forms`` writes it there anew.
"""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).resolve().parents[3] / "tasks" / "math" / "aime25" / "README.md"
_BEGIN, _END = "<!-- forms: made by tests/unit/tasks/aime25_forms.py -->", "<!-- end of forms -->"

TAKEN = {
    "figures": [
        r"\boxed{42}", r"\boxed{ 42 }", r"\boxed{042}", r"\boxed{+42}", r"\boxed{42.0}", r"\boxed{42.00}", r"\boxed{４２}",
        r"\boxed{{42}}",
        r"\boxed{\boxed{42}}", r"\boxed {42}", r"\\boxed{42}", r"$\boxed{42}$", r"\[\boxed{42}\]", r"**\boxed{42}**",
    ],
    "with punctuation, signs of mathematics or emphasis around them": [
        r"\boxed{42.}", r"\boxed{42,}", r"\boxed{42;}", r"\boxed{42。}", r"\boxed{42\text{.}}", r"\boxed{$42$}",
        r"\boxed{\(42\)}", r"\boxed{\[42\]}",
        r"\boxed{(42)}", r"\boxed{\left(42\right)}", r"\boxed{[42]}", r"\boxed{\{42\}}", r"\boxed{|42|}", r"\boxed{**42**}",
        r"\boxed{*42*}",
        r"\boxed{__42__}", r"\boxed{`42`}", r'\boxed{"42"}', r"\boxed{'42'}", r"\boxed{“42”}", r"\boxed{\$42}",
    ],
    "in a style, size or font": [
        r"\boxed{\displaystyle 42}", r"\boxed{\displaystyle{42}}", r"\boxed{\textstyle 42}", r"\boxed{\scriptstyle 42}",
        r"\boxed{\small 42}",
        r"\boxed{\large 42}", r"\boxed{\LARGE 42}", r"\boxed{\Huge{42}}", r"\boxed{\bf 42}", r"\boxed{{\bf 42}}",
        r"\boxed{\rm 42}",
        r"\boxed{\bfseries 42}", r"\boxed{\text{42}}", r"\boxed{\text{ 42 }}", r"\boxed{\textbf{42}}", r"\boxed{\textit{42}}",
        r"\boxed{\textrm{42}}",
        r"\boxed{\textsf{42}}", r"\boxed{\texttt{42}}", r"\boxed{\emph{42}}", r"\boxed{\mathrm{42}}", r"\boxed{\mathbf{42}}",
        r"\boxed{\mathit{42}}",
        r"\boxed{\mathsf{42}}", r"\boxed{\mathtt{42}}", r"\boxed{\mathbb{42}}", r"\boxed{\boldsymbol{42}}", r"\boxed{\bm{42}}",
        r"\boxed{\pmb{42}}",
        r"\boxed{\mbox{42}}", r"\boxed{\hbox{42}}", r"\boxed{\fbox{42}}", r"\boxed{\operatorname{42}}", r"\boxed{\underline{42}}",
        r"\boxed{\mathbf{4}\mathbf{2}}", r"\boxed{\displaystyle\textbf{\large 42}}",
    ],
    "in a colour": [
        r"\boxed{\color{red}42}", r"\boxed{\color{red}{42}}", r"\boxed{\color[rgb]{1,0,0} 42}", r"\boxed{\textcolor{red}{42}}",
        r"\boxed{\textcolor{blue}{\textbf{42}}}", r"\boxed{\colorbox{yellow}{42}}", r"\boxed{\fcolorbox{red}{white}{42}}",
    ],
    "with spaces": [
        r"\boxed{\,42\,}", r"\boxed{42\,}", r"\boxed{\;42\:}", r"\boxed{42\!}", r"\boxed{42\ }", r"\boxed{~42~}",
        r"\boxed{\quad 42}",
        r"\boxed{\hspace{1em}42}", r"\boxed{\phantom{0}42}", r"\boxed{42\\}", "\\boxed{\u200942\u2009}",
        "\\boxed{\u00a042\u3000}", "\\boxed{\n42\n}",
    ],
    "as degrees, or with a unit or a name": [
        r"\boxed{42^\circ}", r"\boxed{42^{\circ}}", r"\boxed{42\degree}", r"\boxed{42°}", r"\boxed{42\text{ degrees}}",
        r"\boxed{42\text{ cm}}",
        r"\boxed{42\ \text{cm}^2}", r"\boxed{42\mathrm{cm}}", r"\boxed{x = 42}", r"\boxed{m+n=42}", r"\boxed{n = \textbf{42}}",
        r"\boxed{42_{10}}",
    ],
    "as short arithmetic (math-verify)": [
        r"\boxed{\frac{84}{2}}", r"\boxed{\dfrac{84}{2}}", r"\boxed{\displaystyle\frac{84}{2}}", r"\boxed{84/2}",
        r"\boxed{84 \div 2}",
        r"\boxed{6 \times 7}", r"\boxed{6\cdot 7}", r"\boxed{6 * 7}", r"\boxed{40+2}", r"\boxed{\mathbf{40+2}}",
        r"\boxed{\sqrt{1764}}", r"\boxed{42^1}",
        r"\boxed{6\cdot 7 = 42}", r"\boxed{\lfloor 42.7 \rfloor}", r"\boxed{\binom{42}{1}}", r"\boxed{4.2\times10^1}",
    ],
}  # fmt: skip
REFUSED = {
    "no closed box": [
        "42", r"**42**",
        r"The answer is 42.", r"\boxed{42", r"\boxed 42", r"\boxed{}", r"\fbox{42}", r"\framebox{42}", r"boxed{42}",
    ],
    "a percentage": [
        r"\boxed{42\%}", r"\boxed{42%}", r"\boxed{42 \%}", r"\boxed{42\,\%}", r"\boxed{\textbf{42\%}}", r"\boxed{42\text{%}}",
        r"\boxed{42\text{ percent}}",
        r"\boxed{42 percent}", r"\boxed{42 per cent}", r"\boxed{42％}",
    ],
    "another number": [
        r"\boxed{-42}", r"\boxed{−42}", r"\boxed{420}", r"\boxed{42.5}", r"\boxed{41.9999999}", r"\boxed{42.0000001}",
        r"\boxed{42!}", r"\boxed{42_{16}}",
        r"\boxed{4^2}", r"\boxed{4²}", r"\boxed{0.42}", r"\boxed{\overline{42}}", r"\boxed{\sqrt{42}}",
    ],
    "two numbers": [
        r"\boxed{4 2}", r"\boxed{4\,2}", r"\boxed{4~2}", r"\boxed{1\,042}", r"\boxed{41, 42}", r"\boxed{42, 43}",
        r"\boxed{41 \text{ or } 42}",
        r"\boxed{42\text{ or }43}", r"\boxed{\pm 42}", r"\boxed{42 \pm 1}", r"\boxed{\cancel{41} 42}",
    ],
    "more, or something else, than an integer": [
        r"\boxed{\text{The answer is }42}", r"\boxed{\text{(B) }42}", r"\boxed{\approx 42}", r"\boxed{forty-two}",
        r"\boxed{XLII}", r"\boxed{0x2A}",
        r"\boxed{٤٢}", r"\boxed{x}", r"\boxed{42 \pmod{1000}}", r"\boxed{\begin{array}{c}42\end{array}}", r"\boxed{\#42}",
        r"\boxed{4.2e1}",
    ],
}  # fmt: skip


def table() -> str:
    """Return the part of the README: every form with its verdict."""
    lines = [_BEGIN, "", "```text"]
    for verdict, groups in (("counts as 42", TAKEN), ("does not count", REFUSED)):
        for name, forms in groups.items():
            lines += [f"{verdict}: {name}", *(f"  {_shown(form)}" for form in forms)]
    return "\n".join([*lines, "```", "", _END])


def readme() -> str:
    """Return the README with the table as it should be."""
    text = README.read_text(encoding="utf-8")
    before, found, rest = text.partition(_BEGIN)
    assert found and _END in rest, f"{README} has no place for the table"
    return before + table() + rest.partition(_END)[2]


def _shown(form: str) -> str:
    """Write characters that nobody sees by their names."""
    for char, name in (("\u2009", "<U+2009>"), ("\u00a0", "<U+00A0>"), ("\u3000", "<U+3000>"), ("\n", "<newline>")):
        form = form.replace(char, name)
    return form


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
