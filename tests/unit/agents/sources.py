"""Small raw sources like those of the tasks: a reliable one in odd forms, a careless one that contradicts it, off-topic rows."""

import json
import random
from pathlib import Path
from typing import Any

SUFFIX = "\nAnswer in \\boxed{}."


def boxed_sources(folder: Path, rows: int = 120, seed: int = 0) -> Path:
    """Write sources in the layout problem, answer, solution, and worked examples; return the data folder."""
    rng = random.Random(seed)
    (folder / "sources").mkdir(parents=True)
    good: list[dict[str, Any]] = []
    careless: list[dict[str, Any]] = []
    for _ in range(rows):
        a, b = rng.randint(1, 9), rng.randint(10, 99)
        question, answer = rng.choice(
            [(f"What is {a} + {b}?", a + b), (f"Round {b}{a} to the hundreds place.", b), (f"Say {b} again.", b)]
        )
        good.append({"problem": question, "answer": rng.choice([str(answer), f"${answer}$", f"{answer}.0"]), "solution": ""})
        wrong = rng.random() < 0.4
        careless.append({"problem": question, "answer": str(answer + 7 if wrong else answer), "solution": ""})
        if rng.random() < 0.1:
            good.append({"problem": "Write a poem about numbers.", "answer": "", "solution": ""})
    _write(folder / "sources" / "good.jsonl", good)
    _write(folder / "sources" / "careless.jsonl", careless)
    few = [("What is 3 + 40?", 43), ("Say 71 again.", 71)]
    shots = [
        {
            "id": f"shot-{i}",
            "subset": "all",
            "type": "t",
            "prompt": q + SUFFIX,
            "gold": v,
            "row": {"question": q, "answer": str(v)},
            "answer": f"\\boxed{{{v}}}",
        }
        for i, (q, v) in enumerate(few)
    ]
    _write(folder / "few_shot.jsonl", shots)
    return folder


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
