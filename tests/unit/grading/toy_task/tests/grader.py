"""A grader small enough to see through: `word` counts exact words, `sum` is scored by closeness and has a metric of its own."""

import json

SUBSET_METRICS = {"word": "accuracy", "sum": "best_of_all"}
LOWER_IS_BETTER = frozenset({"error"})


def subset_of(row):
    return row["subset"]


def score(row, response, subset):
    text = response.strip()
    if subset == "word":
        return {"parsed": text.isalpha(), "value": text, "score": float(text == row["gold"]), "metrics": {}}
    digits = "".join(c for c in text if c.isdigit())[:3]
    if not digits:
        return {"parsed": False, "value": None, "score": 0.0, "metrics": {}}
    error = abs(int(digits) - row["gold"])
    return {"parsed": True, "value": int(digits), "score": 1 / (1 + error), "metrics": {"error": float(error)}}


def constant_answers(items):
    return [str(item["row"]["gold"]) for item in items] + ["nothing"]


def summarise(subset, scored):
    if subset != "sum":
        return {}
    return {"best_of_all": max((s["score"] for s in scored), default=0.0)}


def process_results(doc, results):
    row = json.loads(doc["row"]) if isinstance(doc["row"], str) else doc["row"]
    answer = score(row, results[0], doc["subset"])
    return {"score": answer["score"], "parsed": float(answer["parsed"])}
