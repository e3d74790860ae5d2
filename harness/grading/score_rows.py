"""``dojo tasks score``: given answers to given rows, scored by the task's own grader; no model, no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.spec.errors import SpecError, UsageError
from harness.spec.task import load_task_config
from harness.taskkit.scoring.contract import ScoredAnswer, load_grader
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

# One line may hold a whole document.
MAX_LINE = 64 * 1024 * 1024


def score_rows(task_dir: Path, rows_path: Path, responses_path: Path) -> dict[str, Any]:
    """Score responses to rows.

    Args:
        task_dir: the task's directory.
        rows_path: JSON lines, a row each, in the benchmark's own layout or the task's item layout (then its ``row`` is taken).
        responses_path: JSON lines ``{"index": line of ROWS from 0, "response": text}``; a missing response is unparsable.

    Returns:
        ``{primary, metrics, subsets, parse_rate, items}`` as CLI.md lists it. An item on whose answer the grader broke
        counts as wrong and has a ``failure``: where and how.

    Raises:
        UsageError: a file cannot be read or a line is broken; names file and line.
        GraderFailure: the task's grader broke.
    """
    grader = load_grader(task_dir)
    metric = load_task_config(task_dir / "task.toml").metadata.dojo.metric.name
    rows = [_row(document, rows_path, number) for number, document in _lines(rows_path)]
    if not rows:
        raise UsageError(f"{rows_path}: there is no row", hint="give a JSON object a line")
    responses = _responses(responses_path, len(rows))
    scored: list[tuple[dict[str, Any], str, ScoredAnswer]] = []
    for index, row in enumerate(rows):
        try:
            subset = grader.subset_of(row)
        except SpecError as exc:
            raise UsageError(f"{rows_path}:{index + 1}: {exc.message}", hint=exc.hint) from exc
        scored.append((row, subset, grader.score(row, responses.get(index, ""), subset)))
    scores = grader.aggregate(scored, metric)
    return {
        "primary": scores.primary.model_dump(),
        "metrics": scores.metrics,
        "subsets": scores.subsets,
        "parse_rate": scores.parse_rate,
        "items": [
            {"index": index, "subset": subset, "parsed": answer.parsed, "score": answer.score}
            | ({"failure": answer.failure} if answer.failure else {})
            for index, (_, subset, answer) in enumerate(scored)
        ],
    }


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return (line number from 1, object) of a JSON-lines file; an empty last line is no line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as exc:
        raise UsageError(f"{path}: cannot be read: {exc.strerror}", hint="check the path") from exc
    while lines and not lines[-1].strip():
        lines.pop()
    documents = []
    for number, line in enumerate(lines, 1):
        try:
            document = strict_json(line, max_bytes=MAX_LINE)
        except StrictJsonError as exc:
            raise UsageError(f"{path}:{number}: {exc}", hint="every line is one JSON object") from exc
        if not isinstance(document, dict):
            raise UsageError(f"{path}:{number}: no JSON object", hint="every line is one JSON object")
        documents.append((number, document))
    return documents


def _row(document: dict[str, Any], path: Path, number: int) -> dict[str, Any]:
    """Take a row as it is, or out of an item of a prepared split."""
    if not {"id", "prompt", "row"} <= document.keys():
        return document
    row = document["row"]
    if isinstance(row, str):
        try:
            row = strict_json(row.encode(), max_bytes=MAX_LINE)
        except StrictJsonError as exc:
            raise UsageError(f"{path}:{number}: row: {exc}", hint="row is an object, or JSON text of one") from exc
    if not isinstance(row, dict):
        raise UsageError(f"{path}:{number}: row is no object", hint="row is an object, or JSON text of one")
    return {**row, "subset": row.get("subset", document["subset"])} if "subset" in document else row


def _responses(path: Path, rows: int) -> dict[int, str]:
    responses: dict[int, str] = {}
    hint = '{"index": line of the rows from 0, "response": "text"}'
    for number, document in _lines(path):
        index, response = document.get("index"), document.get("response")
        if type(index) is not int or not 0 <= index < rows:
            raise UsageError(f"{path}:{number}: index {index!r} is none of the {rows} rows", hint=hint)
        if response is not None and not isinstance(response, str):
            raise UsageError(f"{path}:{number}: response is no text", hint=hint)
        if index in responses:
            raise UsageError(f"{path}:{number}: a second response for index {index}", hint=hint)
        if response is not None:
            responses[index] = response
    return responses
