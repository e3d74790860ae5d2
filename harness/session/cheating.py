"""What a run left, searched for cheating once it is sealed: another model, hidden items written down, forged files.

A find ends the run as agent_integrity, and it is graded as if nothing had been handed in: worth no more than a crash. Every find
says what was seen and where, for a person to look at; `dojo exclude` and `dojo include` are for those who disagree.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.assets.base_models import BaseModel
from harness.assets.leak_scan import read_lines, search_texts
from harness.assets.prepare import PreparedTask
from harness.assets.task_program import load_build
from harness.grading.submission.base_files import BaseFiles, read_base
from harness.grading.submission.known_models import resembles
from harness.session.record import RunRecord
from harness.spec.errors import MissingError
from harness.spec.event import Integrity
from harness.spec.outcome import Cause, Outcome
from harness.spec.result import RunResult
from harness.spec.run import GIVEN_HIDDEN
from harness.spec.verdict import Verdict
from harness.store.kept import KeptFiles
from harness.store.run_dir import RunDir
from harness.taskkit.building.data import BuildContext
from harness.taskkit.building.overlap import texts
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

# What is kept of a workspace has at most 8 MB a file; all that is searched together is bounded, so that grading is. A megabyte
# of JSON may take thirty in memory, and results and verdicts are far smaller.
_FILE_BYTES, _ALL_BYTES, _JSON_BYTES = 8 * 1024 * 1024, 32 * 1024 * 1024, 1024 * 1024
# Finds beyond what an honest agent makes by chance, in standard deviations: one run of 30,000.
_BEYOND = 4.0
_NAMED = 5


def search_for_cheating(run: RunDir, prepared: PreparedTask, base: BaseModel, cache: Path) -> Integrity:
    """Search what a run left; the finds stand under ``cheating`` in the run's integrity report, what was searched beside them.

    A search that breaks on what an agent wrote finds nothing, and says so for people: nothing that is written keeps a run from
    being graded.

    Args:
        run: the run's folder.
        prepared: its task's data.
        base: its base model.
        cache: where other models lie that it may have handed in.
    """
    finds: list[str] = []
    broken: list[str] = []
    searches: tuple[Callable[[], str], ...] = (
        partial(_another_model, run, base, cache),
        partial(_hidden_items_written, run, prepared, cache),
        partial(_forged_files, run),
    )
    for search in searches:
        try:
            found = search()
        except Exception as exc:  # of any kind: what broke it was made by the agent
            broken.append(f"{type(exc).__name__}: {exc}"[:200])
        else:
            finds += [found] if found else []
    told: dict[str, Any] = {"cheating": finds} if finds else {}
    told |= {"cheating_search_broken": broken} if broken else {}
    return Integrity(searched_for_cheating=True, **told)


def judged(record: RunRecord, outcome: Outcome | None) -> Outcome | None:
    """Return how a run ended, given how its agent did: cheating that was found decides."""
    finds = record.integrity.get("cheating")
    if not finds or outcome is None:
        return outcome
    text = f"cheating was found: {'; '.join(map(str, finds))}"[:2000]
    return Outcome(cause=Cause.AGENT_INTEGRITY, phase="grade", message=text, exit_code=outcome.exit_code)


def kept(run: RunDir) -> Iterator[tuple[str, bytes]]:
    """Yield what the agent wrote and the run keeps, by name: its workspace, the files of its submission, its output."""
    workspace, left = KeptFiles(run.kept), _ALL_BYTES
    chosen = {}
    for name, size in _sizes(workspace).items():
        if 0 < size <= min(_FILE_BYTES, left) and not name.endswith(".safetensors"):
            left -= size
            chosen[name] = size
    yield from ((f"workspace/{name}", data) for name, data in workspace.contents(chosen))
    files = [(f"submission/{path.relative_to(run.sealed)}", path) for path in sorted(run.sealed.rglob("*"))]
    files += [(name, run.path / name) for name in ("agent.stdout", "agent.stderr")]
    for name, path in files:
        if path.is_symlink() or not path.is_file() or path.suffix == ".safetensors":
            continue
        if 0 < (size := path.stat().st_size) <= min(_FILE_BYTES, left):
            left -= size
            yield name, path.read_bytes()


def _sizes(workspace: KeptFiles) -> dict[str, int]:
    """Return the sizes of what was kept; nothing where a crash left nothing to keep."""
    try:
        return workspace.sizes()
    except MissingError:
        return {}


def _another_model(run: RunDir, base: BaseModel, cache: Path) -> str:
    others = _others(base, cache) if run.sealed.is_dir() else {}
    known = resembles(run.sealed, read_base(base.path), others) if others else None
    return str(known) if known else ""


def _forged_files(run: RunDir) -> str:
    forged = [name for name, data in kept(run) if name.endswith(".json") and _pretends(data)]
    return f"files that pretend to be the harness's: {', '.join(forged[:_NAMED])}" if forged else ""


def _hidden_items_written(run: RunDir, prepared: PreparedTask, cache: Path) -> str:
    """Return what to say of hidden items in what was written; "" where they are there by chance or not at all.

    An agent that makes training items of its own, from a program like the task's, hits hidden ones by chance; it hits as many of
    another draw that nobody ever saw. Only what is far beyond that comes from knowing the hidden split. Of published test sets
    there is no other draw: there finds are no proof of anything.
    """
    if prepared.hidden == GIVEN_HIDDEN:
        return ""
    items = read_lines(prepared.hidden_path)
    found = search_texts(items, _texts(run)).items_found
    if len(found) <= _BEYOND**2:
        return ""
    other = search_texts(_another_draw(prepared, cache), _texts(run)).items_found
    if len(found) - len(other) <= _BEYOND * math.sqrt(len(found) + len(other)):
        return ""
    return f"{len(found)} of {len(items)} hidden items stand in what was written, and {len(other)} of a draw that nobody saw"


def _texts(run: RunDir) -> Iterator[tuple[str, str]]:
    """Yield every text that was written, and every string of JSON in it: a whole file, or a document a line."""
    for name, data in kept(run):
        text = data.decode(errors="replace")
        yield name, text
        for document in (text, *text.splitlines()):
            if document[:1] in ("{", "[", '"') and len(document) <= _JSON_BYTES:
                try:
                    strings = list(texts(json.loads(document)))
                except (ValueError, RecursionError):
                    continue  # no JSON, or none that anybody's training would read
                yield from ((name, string) for string in strings)


def _another_draw(prepared: PreparedTask, cache: Path) -> list[dict[str, Any]]:
    """Return a hidden split like the real one, drawn with a secret that is forgotten at once."""
    context = BuildContext(prepared.task.id, prepared.profile, cache, secret=secrets.token_bytes(32))
    drawn = load_build(prepared.task).build(prepared.profile, context).hidden
    return [{"id": item.id, "prompt": item.prompt, "row": item.row} for item in drawn]


def _others(base: BaseModel, cache: Path) -> dict[str, BaseFiles]:
    """Return the other models of the cache that can be read."""
    found = {}
    for folder in sorted(path.parent for path in (cache / "models").glob("*/dojo-manifest.json")):
        if folder.resolve() != base.path.resolve():
            try:
                found[folder.name] = read_base(folder)
            except MissingError:
                continue  # a damaged model is a matter of `dojo data verify`
    return found


def _pretends(data: bytes) -> bool:
    """Whether a file is a result or a verdict on the hidden split as only the harness writes them."""
    try:
        document = strict_json(data, max_bytes=_JSON_BYTES)
    except (StrictJsonError, RecursionError):
        return False
    for model in (RunResult, Verdict):
        try:
            read = model.model_validate(document)
        except (ValidationError, TypeError):
            continue
        return not isinstance(read, Verdict) or read.split == "hidden"
    return False
