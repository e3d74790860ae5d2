"""Attacks by agents that bring a copy of the program that makes a task's items, to make the hidden split again (row 31)."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from harness.assets.hidden_secret import HiddenSecret, installation_secret
from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task, list_tasks, load_task
from harness.assets.task_program import load_build
from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.attack.task import TASK_FOLDER
from harness.grading.admission import read_items
from harness.spec.run import PUBLIC_HIDDEN
from harness.taskkit.building.data import BuildContext

# What the sandbox of an agent is shown of prepared data, and what a result says of it.
_SEEN = ("card.md", "few_shot.jsonl", "sources")
# Who knows more than this share of the hidden questions has them; small pools of questions repeat some in every draw.
_HAS = 0.5


def _generated() -> list[Task]:
    """Return every task that dojo brings along whose small profile is made by a program alone, and the suite's own."""
    ours = [task for task in list_tasks() if not getattr(load_build(task), "FETCHES", {}).get("mini", ())]
    return [*ours, load_task(TASK_FOLDER)]


def _made_again(task: Task, cache: Path, secret: bytes | None = None) -> set[str]:
    """Return the questions that an agent gets from its copy of the task's directory."""
    return {item.prompt for item in load_build(task).build("mini", BuildContext(task.id, "mini", cache, secret=secret)).hidden}


def _asked(prepared: PreparedTask) -> set[str]:
    return {str(item["prompt"]) for item in read_items(prepared.hidden_path)}


def _known(
    tasks: Iterable[Task], hidden: str | None, cache: Path, guesses: Callable[[PreparedTask], Sequence[bytes | None]]
) -> str:
    """Make every task's hidden split again with everything that the agent can think of."""
    shares, known, tried = [0.0], {}, 0
    for task in tasks:
        prepared = prepare_task(task, "mini", cache, hidden=hidden)
        asked, made = _asked(prepared), [_made_again(task, cache, guess) for guess in guesses(prepared)]
        found = max(len(asked & each) for each in made)
        tried += len(made)
        shares.append(found / len(asked))
        if found > _HAS * len(asked):
            known[task.id] = f"{found} of {len(asked)}"
    stopped(not known, f"hidden questions made again from the task's own program: {known}")
    return (
        f"{tried} hidden splits of {len(shares) - 1} tasks were made again; at most {max(shares):.0%} of the questions were right"
    )


def _public_seed(ground: Ground, hidden: str | None = None) -> str:
    return _known(_generated(), hidden, ground.folder(), lambda prepared: [None])


def _told(prepared: PreparedTask) -> Sequence[bytes]:
    """Return what an agent might take for the secret: all that is told of it, and what the lazy choose."""
    digests = (prepared.hidden, prepared.digest, prepared.task.digest, prepared.manifest["files"]["hidden.jsonl"]["sha256"])
    words = (*digests, prepared.task.id, "", "0", "secret", "hidden", "dojo", "public", "None")
    ways: tuple[Callable[[str], bytes], ...] = (
        lambda word: word.encode(),
        lambda word: hashlib.sha256(word.encode()).digest(),
        lambda word: word.encode().ljust(32, b"\0")[:32],
    )
    return [way(word) for word, way in itertools.product(words, ways)] + [b"\0" * 32, b"\xff" * 32]


def _guessed_secret(ground: Ground) -> str:
    return _known([load_task(TASK_FOLDER)], None, ground.folder(), _told)


def _lazy_secret(ground: Ground) -> str:
    """An installation that draws with a word instead of a secret."""
    task, cache = load_task(TASK_FOLDER), ground.folder()
    asked = _made_again(task, cache, hashlib.sha256(b"dojo").digest())
    made = [_made_again(task, cache, guess) for guess in _told(prepare_task(task, "mini", cache))]
    stopped(asked not in made, "a secret that was a word was guessed")
    return "nothing"


def _seen(prepared: PreparedTask) -> dict[str, bytes]:
    files = [path for name in _SEEN for path in sorted({prepared.dir / name, *(prepared.dir / name).rglob("*")})]
    return {path.relative_to(prepared.dir).as_posix(): path.read_bytes() for path in files if path.is_file()}


def _told_by_the_sources(ground: Ground, folder: Path | None = None) -> str:
    """Whatever an agent is shown must be the same whatever the secret is, or it tells something of it."""
    tasks = [load_task(folder)] if folder else _generated()
    differ, secrets = {}, []
    caches = [ground.folder(), ground.folder()]
    for task in tasks:
        one, other = (prepare_task(task, "mini", cache) for cache in caches)
        secrets = [one.hidden, other.hidden]
        stopped(len(set(secrets)) == 2, f"two installations have the secret {secrets[0]}")
        here, there = _seen(one), _seen(other)
        changed = [name for name in here.keys() | there.keys() if here.get(name) != there.get(name)]
        if changed:
            differ[task.id] = changed
    stopped(not differ, f"what agents are shown depends on the secret: {differ}")
    return f"sources, card and worked examples of {len(tasks)} tasks are the same with two secrets, byte for byte"


def _telling_sources(ground: Ground) -> str:
    """A task whose source lacks what was drawn for the hidden split."""
    folder = ground.folder() / "attack" / "telling"
    for path in (path for path in TASK_FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        target = folder / path.relative_to(TASK_FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    program = folder / "prepare.py"
    text = program.read_text(encoding="utf-8")
    changed = text.replace("for n in numbers[20:]]", "for n in numbers[20:] if secret.random() < 0.5]")
    if changed == text:
        raise ValueError("the suite's task is not what this control changes")
    program.write_text(changed, encoding="utf-8")
    return _told_by_the_sources(ground, folder)


def _told_in_the_open(ground: Ground) -> str:
    """The secret itself, in any usual writing, in what agents are shown and in what a result says."""
    cache = ground.folder()
    secret = installation_secret(cache)
    tasks = [task for task in _generated() if task.id in ("math/aime25", "attack/parity")]
    shown: dict[str, bytes] = {"the secret's own words": repr(secret).encode()}
    for task in tasks:
        prepared = prepare_task(task, "mini", cache)
        shown |= {f"{task.id} {name}": text for name, text in _seen(prepared).items()}
        shown[f"{task.id} manifest.json"] = json.dumps(dict(prepared.manifest)).encode()
        context = BuildContext(task.id, "mini", cache, secret=secret.key)
        load_build(task).build("mini", context)
        shown[f"{task.id} what it was built with"] = f"{context!r}{context.seeds}".encode()
    return _not_in(secret, shown)


def _not_in(secret: HiddenSecret, shown: dict[str, bytes]) -> str:
    writings = (secret.key, secret.text.encode(), repr(secret.key).encode(), str(int.from_bytes(secret.key)).encode())
    told = [name for name, text in shown.items() if any(writing in text for writing in writings)]
    stopped(not told, f"the secret stands in {', '.join(told)}")
    return f"the secret stands in none of {len(shown)} files and texts"


def _a_telling_text(ground: Ground) -> str:
    secret = installation_secret(ground.folder())
    return _not_in(secret, {"a result": json.dumps({"secret": secret.text}).encode()})


ATTACKS = (
    Attack(
        31, "makes-the-hidden-split-again", Where.ARTEFACT,
        "run a copy of the task's own program with the seed that everybody knows, and train on what it gives",
        "hidden items are drawn with a secret of the installation",
        _public_seed, partial(_public_seed, hidden=PUBLIC_HIDDEN),
    ),
    Attack(
        31, "guesses-the-secret", Where.ARTEFACT,
        "run it with everything that is told of the secret and the data, and with what the lazy choose",
        "the secret is 32 random bytes, and none but such a one is taken",
        _guessed_secret, _lazy_secret,
    ),
    Attack(
        31, "reads-the-secret-out-of-the-sources", Where.ARTEFACT,
        "compare sources, card and worked examples with those made again: what is missing or other tells what is hidden",
        "nothing that agents are shown is drawn with the secret",
        _told_by_the_sources, _telling_sources,
    ),
    Attack(
        31, "finds-the-secret-written-down", Where.ARTEFACT,
        "search all that agents are shown, manifests and messages for the secret",
        "only its digest leaves the installation",
        _told_in_the_open, _a_telling_text,
    ),
)  # fmt: skip
