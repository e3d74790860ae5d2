r"""Scores answers: the word in the last ``\boxed{}``."""

from typing import Any

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_boxed

SUBSET_METRICS = {"parity": "accuracy"}


def subset_of(row: Any) -> str:
    """There is one sub-set."""
    return "parity"


def score(row: Any, response: str, subset: str) -> dict[str, Any]:
    """1 for the right word."""
    word = after_thinking(response, last_boxed)
    right = word == row["answer"]
    return {"parsed": word is not None, "value": word, "score": float(right), "metrics": {}}


def constant_answers(items: Any) -> list[str]:
    """Both words."""
    return ["\\boxed{even}", "\\boxed{odd}"]


def process_results(doc: Any, results: Any) -> dict[str, float]:
    """What lm-eval calls."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}
