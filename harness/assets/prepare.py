"""From a task and a profile to prepared data in the cache: built once, checked, decontaminated, described."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.assets.card import data_card
from harness.assets.check_data import Removal, check_items, decontaminate
from harness.assets.hidden_secret import HiddenSecret, installation_secret
from harness.assets.render import instruction_values, render_instruction
from harness.assets.task_dir import Task
from harness.assets.task_program import built
from harness.files import build_folder, sha256_file, tree_files
from harness.spec.budget import Budget
from harness.spec.errors import MissingError, SpecError, UsageError
from harness.spec.progress import Progress
from harness.spec.run import GIVEN_HIDDEN, PUBLIC_HIDDEN, RunSpec
from harness.spec.task import Generation, Limits
from harness.taskkit.building.data import BuildContext, Item, Source, TaskData
from harness.taskkit.building.hub import MIRROR_VARIABLE
from harness.taskkit.digest import taskkit_digest

_LAYOUT = "dojo/data/v1"
# Hidden items lie in it: nobody but the owner enters. Its files are readable, for a sandbox's user is another and is shown single
# files of it, which no folder above them closes.
_CLOSED = 0o700
# Hidden splits drawn with a secret before a task counts as unable to give a clean one.
_DRAWS = 16
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
    def hidden(self) -> str:
        """What the hidden split was drawn with, see `harness.spec.run.TaskRef.hidden`."""
        return str(self.manifest.get("hidden", PUBLIC_HIDDEN))

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


def prepare_task(
    task: Task, profile: str, cache: Path, progress: Progress | None = None, *, hidden: str | None = None
) -> PreparedTask:
    """Return a task's data for a profile, building it where the cache does not hold it.

    Args:
        task: the task.
        profile: which data.
        cache: where it lies.
        progress: told what takes long.
        hidden: what the hidden split is drawn with, where it is drawn: None for the installation's secret, `PUBLIC_HIDDEN` for
            the seed that everybody knows, or what a run was planned with.

    Raises:
        UsageError: the task has no such profile.
        MissingError: a package or data set cannot be had, or the secret is not this installation's.
        SpecError: the task's ``prepare.py`` is broken or its data is not fit.
    """
    if profile not in task.dojo.profiles:
        known = ", ".join(sorted(task.dojo.profiles))
        raise UsageError(f"task {task.id} has no profile {profile!r}", hint=f"it has {known}")
    folder = cache / "data" / task.id / profile
    given = folder / _input_key(task, profile, GIVEN_HIDDEN)
    if given.is_dir():  # no secret has a part in it
        return _read(task, profile, given)
    secret = installation_secret(cache) if hidden not in (PUBLIC_HIDDEN, GIVEN_HIDDEN) else None
    wanted = hidden or (secret.digest if secret else "")
    target = folder / _input_key(task, profile, PUBLIC_HIDDEN if secret is None else wanted)
    if secret is not None and secret.digest != wanted and not target.is_dir():
        raise MissingError(
            f"the hidden split of {task.id} was drawn with the secret {wanted}, this installation's is {secret.digest}",
            hint="`dojo data secret --set` takes over the secret of another installation; or submit anew",
        )
    with build_folder(target, mode=_CLOSED) as part:
        if part is not None:
            if progress:
                progress(f"preparing the data of {task.id} ({profile})")
            _build(task, profile, cache, part, progress, secret)
    return _read(task, profile, _settled(target, given))


def _settled(built: Path, given: Path) -> Path:
    """Return where built data lies: what no secret had a part in is put where it is found with any, so that it is built once."""
    try:
        manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return given  # another process has just put it there
    if manifest["drawn"]:
        return built
    try:
        built.rename(given)
    except OSError:
        if not given.is_dir():
            raise
    return given


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
    with build_folder(target, mode=_CLOSED) as part:
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


def _build(task: Task, profile: str, cache: Path, folder: Path, progress: Progress | None, secret: HiddenSecret | None) -> None:
    """Build, and draw anew while what is drawn with a secret stands in what agents read.

    Its items are thrown away, never the rows: a row that is missing from sources that anybody can make would tell of its item.
    """
    from harness.assets.leak_scan import scan_leaks  # it reads what is prepared here

    for draw in range(_DRAWS):
        context = BuildContext(task.id, profile, cache, progress, secret.draw(draw) if secret else None)
        data = built(task, context)
        sources, removals = decontaminate(data)
        own = check_items(data, [subset.name for subset in task.dojo.subsets])
        _write(task, context, data, sources, removals, own, folder, _drawn_with(context, secret))
        if secret is None or not context.drew_hidden:
            return
        found = scan_leaks(_read(task, profile, folder)).items_found
        if found <= {item.id for item in data.dev} and not (_gone(removals) - _gone(decontaminate(replace(data, hidden=[]))[1])):
            return
        context.log("hidden items stand in the sources: drawing them anew")
        shutil.rmtree(folder)
        folder.mkdir(mode=_CLOSED)
    raise SpecError(
        f"{task.path / 'prepare.py'}: each of {_DRAWS} hidden splits of {profile} has items that stand in the sources",
        hint="draw hidden items from what the sources leave out",
    )


def _gone(removals: Sequence[Removal]) -> Counter[str]:
    """Return how many rows were taken out of each source."""
    return Counter({removal.source: removal.removed for removal in removals})


def _drawn_with(context: BuildContext, secret: HiddenSecret | None) -> str:
    """Return what a hidden split was drawn with. One that is neither drawn nor fetched comes from the public program alone."""
    if context.drew_hidden:
        return secret.digest if secret else PUBLIC_HIDDEN
    return GIVEN_HIDDEN if context.fetched else PUBLIC_HIDDEN


def _write(
    task: Task,
    context: BuildContext,
    data: TaskData,
    sources: Sequence[Source],
    removals: Sequence[Removal],
    own: list[str],
    folder: Path,
    hidden: str,
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
        "hidden": hidden,
        "drawn": context.drew_hidden,
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


def _input_key(task: Task, profile: str, hidden: str) -> str:
    """Name what the data is made from, before it is made."""
    parts = [_LAYOUT, task.digest, taskkit_digest("building"), profile, hidden]
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror and profile != "mini":
        stats = [(path, path.stat()) for path in tree_files(Path(mirror) / "datasets")]
        parts += [f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
