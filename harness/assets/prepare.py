"""From a task and a profile to prepared data in the cache: built once, checked, decontaminated, described."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.assets.card import data_card
from harness.assets.check_data import Removal, check_items, decontaminate
from harness.assets.render import instruction_values, render_instruction
from harness.assets.task_dir import Task
from harness.files import build_folder, sha256_file, tree_files
from harness.spec.budget import Budget
from harness.spec.errors import DojoError, SpecError, UsageError
from harness.spec.run import RunSpec
from harness.spec.task import Generation, Limits
from harness.taskkit.building.data import BuildContext, Item, Source, TaskData
from harness.taskkit.building.hub import MIRROR_VARIABLE, HubData
from harness.taskkit.building.package import PackageFile, Progress
from harness.taskkit.digest import taskkit_digest
from harness.taskkit.scoring.loading import load_task_module

_LAYOUT = "dojo/data/v1"
_LINE_ENDS = {ord(char): f"\\u{ord(char):04x}" for char in "\u0085\u2028\u2029"}


@dataclass(frozen=True)
class PreparedSource:
    """A training source on disk."""

    name: str
    path: Path
    rows: int
    description: str


@dataclass(frozen=True)
class PreparedTask:
    """A task with its data on disk.

    Attributes:
        task: the task.
        profile: ``full``, ``strict`` or ``mini``.
        dir: the folder with everything below.
        digest: SHA-256 over the data files.
        sources: training sources, as agents see them.
        manifest: ``manifest.json``: files with checksums and sizes, seeds, what was fetched, licences, what was removed.
    """

    task: Task
    profile: str
    dir: Path
    digest: str
    sources: tuple[PreparedSource, ...]
    manifest: Mapping[str, Any]

    @property
    def dev_path(self) -> Path:
        """Items of the dev split, one JSON object a line."""
        return self.dir / "dev.jsonl"

    @property
    def hidden_path(self) -> Path:
        """Items of the hidden split."""
        return self.dir / "hidden.jsonl"

    @property
    def few_shot_path(self) -> Path:
        """Worked examples."""
        return self.dir / "few_shot.jsonl"

    def goal(self, spec: RunSpec) -> str:
        """Return the instruction an agent reads in this run.

        Raises:
            SpecError: ``instruction.md`` has a placeholder that does not exist.
        """
        return self.instruction(spec.base_model.name, spec.budget, spec.limits, spec.generation)

    def instruction(self, base_model: str, budget: Budget, limits: Limits, generation: Generation) -> str:
        """Return ``instruction.md`` filled in with these figures.

        Raises:
            SpecError: it has a placeholder that does not exist.
        """
        lines = [f"- `/data/sources/{s.path.name}` ({s.rows:,} rows): {s.description}" for s in self.sources]
        values = instruction_values(
            self.task.dojo,
            profile=self.profile,
            base_model=base_model,
            budget=budget,
            limits=limits,
            generation=generation,
            sources="\n".join(lines),
        )
        return render_instruction(self.task.instruction, values)


def prepare_task(task: Task, profile: str, cache: Path, progress: Progress | None = None) -> PreparedTask:
    """Return a task's data for a profile, building it where the cache does not hold it.

    Raises:
        UsageError: the task has no such profile.
        MissingError: a package or data set cannot be had.
        SpecError: the task's ``prepare.py`` is broken or its data is not fit.
    """
    if profile not in task.dojo.profiles:
        known = ", ".join(sorted(task.dojo.profiles))
        raise UsageError(f"task {task.id} has no profile {profile!r}", hint=f"it has {known}")
    target = cache / "data" / task.id / profile / _input_key(task, profile)
    with build_folder(target) as part:
        if part is not None:
            if progress:
                progress(f"preparing the data of {task.id} ({profile})")
            _build(task, profile, cache, part, progress)
    return _read(task, profile, target)


def limited(prepared: PreparedTask, n: int, cache: Path) -> PreparedTask:
    """Return a task's data with only the first ``n`` dev and hidden items, for a quick look; made once, kept in the cache.

    Its digest differs from that of the whole data even where no item is left out, so that nothing measured on one is taken for
    a measurement on the other.

    Raises:
        UsageError: ``n`` is less than 1.
    """
    if n < 1:
        raise UsageError(f"a limit of {n} items leaves nothing to score", hint="give 1 or more")
    target = cache / "data" / prepared.task.id / prepared.profile / f"{prepared.digest[:24]}-first-{n}"
    with build_folder(target) as part:
        if part is not None:
            _write_limited(prepared, n, part)
    return _read(prepared.task, prepared.profile, target)


def _write_limited(prepared: PreparedTask, n: int, folder: Path) -> None:
    files: dict[str, dict[str, Any]] = {}
    for name, facts in prepared.manifest["files"].items():
        source, target = prepared.dir / name, folder / name
        target.parent.mkdir(exist_ok=True)
        if source in (prepared.dev_path, prepared.hidden_path):
            with source.open("rb") as items:
                lines = list(itertools.islice(items, n))
            target.write_bytes(b"".join(lines))
            facts = {"sha256": sha256_file(target), "bytes": target.stat().st_size, "rows": len(lines)}
        else:
            _link(source, target)
        files[name] = dict(facts)
    whole = f"{_digest(files)} first {n}"
    manifest = {
        **prepared.manifest,
        "digest": hashlib.sha256(whole.encode()).hexdigest(),
        "limit": n,
        "files": files,
        "ids": {split: ids[:n] for split, ids in prepared.manifest["ids"].items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """Give a prepared file, which nobody writes to, a second name; copy it where the disk is another."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def load_build(task: Task) -> ModuleType:
    """Load a task's ``prepare.py``; it may import its neighbours and its domain's ``shared/``.

    Raises:
        SpecError: there is none, or it does not load.
    """
    path = task.path / "prepare.py"
    if not path.is_file():
        raise SpecError(f"{path}: there is no data preparation", hint="docs/write-a-task.md shows one")
    try:
        module = load_task_module(task.path, "prepare")
    except Exception as exc:
        raise SpecError(f"{path}: does not load: {exc!r}", hint="run it with Python to see the whole error") from exc
    if not callable(getattr(module, "build", None)):
        raise SpecError(f"{path}: has no build(profile, context)", hint="docs/write-a-task.md shows one")
    return module


def declared_fetches(task: Task, profile: str) -> tuple[PackageFile | HubData, ...]:
    """Return what a task's ``prepare.py`` says it fetches for ``profile``, in ``FETCHES = {"mini": (…,), "full": (…,)}``.

    ``strict`` is made from what ``full`` is made from, where it is not named.

    Raises:
        SpecError: it says nothing.
    """
    found = _declared(load_build(task), profile)
    if found is None:
        raise SpecError(
            f"{task.path / 'prepare.py'} does not declare what {profile} fetches",
            hint='add FETCHES = {"mini": (…,), "full": (…,)} with its PackageFile and HubData objects',
        )
    return found


def _declared(module: ModuleType, profile: str) -> tuple[PackageFile | HubData, ...] | None:
    declared = getattr(module, "FETCHES", {})
    found = declared.get(profile, declared.get("full") if profile == "strict" else None)
    return None if found is None else tuple(found)


def _name(source: PackageFile | HubData) -> str:
    return source.pin if isinstance(source, PackageFile) else source.repo


def _build(task: Task, profile: str, cache: Path, folder: Path, progress: Progress | None) -> None:
    context = BuildContext(task.id, profile, cache, progress)
    module = load_build(task)
    try:
        data = module.build(profile, context)
    except DojoError:
        raise
    except Exception as exc:
        raise SpecError(f"{task.path / 'prepare.py'}: build({profile!r}) failed: {exc!r}", hint="mend the task") from exc
    declared = {_name(source) for source in _declared(module, profile) or ()}
    if hasattr(module, "FETCHES") and declared != context.fetched.keys():
        raise SpecError(
            f"{task.path / 'prepare.py'}: FETCHES names {sorted(declared)} for {profile}, fetched was {sorted(context.fetched)}",
            hint="declare what build() fetches",
        )
    if not isinstance(data, TaskData):
        raise SpecError(f"{task.path / 'prepare.py'}: build() gave a {type(data).__name__}", hint="return a TaskData")
    own = check_items(data, [subset.name for subset in task.dojo.subsets])
    sources, removals = decontaminate(data)
    _write(task, context, data, sources, removals, own, folder)


def _write(
    task: Task,
    context: BuildContext,
    data: TaskData,
    sources: Sequence[Source],
    removals: Sequence[Removal],
    own: list[str],
    folder: Path,
) -> None:
    (folder / "sources").mkdir()
    counts = {}
    for name, items in {"dev": data.dev, "hidden": data.hidden, "few_shot": data.few_shot}.items():
        counts[f"{name}.jsonl"] = write_lines(folder / f"{name}.jsonl", (_line(item) for item in items))
    for source in sources:
        if not source.name.replace("_", "").replace("-", "").isalnum():
            raise SpecError(f"source name {source.name!r} is no file name", hint="use letters, digits, - and _")
        file = f"sources/{source.name}.jsonl"
        counts[file] = write_lines(folder / file, (row.row for row in source.rows))
    (folder / "card.md").write_text(data_card(task, context, data, sources, removals), encoding="utf-8")
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in tree_files(folder)
    }
    for name, rows in counts.items():
        files[name]["rows"] = rows
    manifest = {
        "schema": _LAYOUT,
        "task": task.id,
        "task_digest": task.digest,
        "profile": context.profile,
        "digest": _digest(files),
        "files": files,
        "ids": {"dev": [i.id for i in data.dev], "hidden": [i.id for i in data.hidden]},
        "sources": [{"name": s.name, "description": s.description, "licence": s.licence} for s in sources],
        "removed": {r.source: {"before": r.before, "removed": r.removed, **r.reasons} for r in removals},
        "shared_by_dev_and_hidden": own,
        "seeds": context.seeds,
        "fetched": context.fetched,
        "licences": data.licences,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON lines; return how many. A line is a line for every reader: what else ends one for some is escaped."""
    count = 0
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False).translate(_LINE_ENDS) + "\n")
            count += 1
    return count


def _line(item: Item) -> dict[str, Any]:
    line = {key: getattr(item, key) for key in ("id", "subset", "type", "prompt", "gold", "row")}
    return {**line, "answer": item.answer} if item.answer else line


def _read(task: Task, profile: str, folder: Path) -> PreparedTask:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name, file in manifest["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != file["bytes"] or sha256_file(path) != file["sha256"]:
            raise SpecError(f"{path} is not what was prepared", hint=f"remove {folder} and prepare again")
    sources = []
    for source in manifest["sources"]:
        file = f"sources/{source['name']}.jsonl"
        sources.append(PreparedSource(source["name"], folder / file, manifest["files"][file]["rows"], source["description"]))
    return PreparedTask(task, profile, folder, manifest["digest"], tuple(sources), manifest)


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"{files[name]['sha256']} {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _input_key(task: Task, profile: str) -> str:
    """Name what the data is made from, before it is made."""
    parts = [_LAYOUT, task.digest, taskkit_digest("building"), profile]
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror and profile != "mini":
        stats = [(path, path.stat()) for path in tree_files(Path(mirror) / "datasets")]
        parts += [f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
