r"""Scores answers: the word in the last ``\boxed{}``."""

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_boxed

SUBSET_METRICS = {"parity": "accuracy"}


def subset_of(row):
    """There is one sub-set."""
    return "parity"


def score(row, response, subset):
    """1 for the right word."""
    word = after_thinking(response, last_boxed)
    return {"parsed": word is not None, "value": word, "score": float(word == row["answer"]), "metrics": {}}


def constant_answers(items):
    """Both words."""
    return ["\\boxed{even}", "\\boxed{odd}"]


def process_results(doc, results):
    """What lm-eval calls."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}
