"""Attacks on hidden data that lies where a sandbox shows the host's system, or where its other users may read it (row 40)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.assets.hidden_secret import installation_secret, secret_path
from harness.assets.prepare import PreparedTask, limited, prepare_task
from harness.assets.task_dir import load_task
from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.task import TASK_FOLDER
from harness.sandbox.contract.promise import PATIENCE_S, expect
from harness.session.hidden_places import check_modes, check_places

_MARK = "dojo-attack-secret"
# Where the systems of hosts lie: a sandbox that shares the host's shows parts of these.
_SYSTEM = ("/usr", sys.prefix, sys.base_prefix)


@contextlib.contextmanager
def _caches(places: Sequence[str] = _SYSTEM) -> Iterator[list[Path]]:
    """Put caches with hidden items into every place of the system that may be written to, for as long as the attack takes."""
    made: list[Path] = []
    try:
        for place in dict.fromkeys(os.path.realpath(place) for place in places):
            with contextlib.suppress(OSError):
                made.append(Path(tempfile.mkdtemp(prefix="dojo-attack-", dir=place)))
        for folder in made:
            folder.chmod(0o755)
            (folder / "hidden.jsonl").write_text(_MARK)
        yield made
    finally:
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)


def _read_inside(ground: Ground, paths: Sequence[Path]) -> list[str]:
    """Return the paths that a command of the agent reads in a new sandbox."""
    program = "import sys\nfor p in sys.argv[1:]:\n try: print(p if open(p).read() else '')\n except OSError: pass"
    with ground.stage.new() as sandbox:
        result = sandbox.exec(["python3", "-c", program, *map(str, paths)], timeout_s=PATIENCE_S)
        expect(result.ok, result)
        return result.stdout.decode().split()


def _below_the_system(ground: Ground) -> str:
    with _caches() as folders:
        if not folders:
            return "this user may write nowhere in the host's system, so no cache of it lies there"
        read = _read_inside(ground, [folder / "hidden.jsonl" for folder in folders])
        stopped(not read, f"read inside: {', '.join(read)}")
        return f"hidden items below {', '.join(str(folder.parent) for folder in folders)} are not there inside"


def _below_what_is_shown(ground: Ground) -> str:
    """A cache in a folder that must be shown: no run may begin, by whatever name the cache is called."""
    link = ground.folder() / "link"
    with _caches(_shown()) as folders:
        if not folders:
            return "this user may write nowhere in what is shown, so no cache of it lies there"
        link.symlink_to(folders[0])
        read = _read_inside(ground, [folder / "hidden.jsonl" for folder in folders])
        expect(bool(read) or not hasattr(ground.backend, "shows"), "what is on the list is not shown")
        accepted = [
            str(path) for path in (*folders, folders[0] / "deeper", link) if check_places({"cache": path}, ground.backend).ok
        ]
        stopped(not read or not accepted, f"runs would begin with hidden items in {', '.join(accepted)}")
        return f"no run begins with a cache in {', '.join(str(folder.parent) for folder in folders)}"


def _unlooked_at(ground: Ground) -> str:
    """A backend that shows the host's system and says nothing of it."""
    if not hasattr(ground.backend, "shows"):
        raise NotStopped(f"{ground.backend.name} shows nothing of this host")
    with _caches(_shown()) as folders:
        read = _read_inside(ground, [folder / "hidden.jsonl" for folder in folders])
        stopped(not read, f"read inside: {', '.join(read)}")
        return "nothing"


def _shown() -> list[str]:
    return [path for path in ("/usr/share", "/usr/local/lib", f"{sys.prefix}/share", f"{sys.prefix}/lib") if os.path.isdir(path)]


def _laid_out(ground: Ground) -> tuple[PreparedTask, list[Path]]:
    """Prepare data in a folder that every user may enter; return it, and what no other user may read."""
    cache = ground.folder() / "cache"
    cache.mkdir(mode=0o755)
    installation_secret(cache)
    whole = prepare_task(load_task(TASK_FOLDER), "mini", cache)
    first = limited(whole, 2, cache)
    files = [data.dir / name for data in (whole, first) for name in ("hidden.jsonl", "dev.jsonl", "manifest.json")]
    return whole, [secret_path(cache), *files]


def _read_by_others(paths: Sequence[Path]) -> list[str]:
    """Return what another user of the host reads; where this one may not become another, what the modes would let it read."""
    if os.geteuid() == 0:
        program = "import sys\nfor p in sys.argv[1:]:\n try: print(p if open(p).read(1) else '')\n except OSError: pass"
        command = [os.path.realpath(sys.executable), "-I", "-S", "-c", program, *map(str, paths)]
        nobody = {"user": 65534, "group": 65534, "extra_groups": ()}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True, **nobody)  # type: ignore[call-overload]
        except PermissionError:  # this Python is in a folder of root's own
            command[0] = "/usr/bin/python3"
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True, **nobody)  # type: ignore[call-overload]
        return str(done.stdout).split()
    return [str(path) for path in paths if path.stat().st_mode & 0o044 and all(p.stat().st_mode & 0o011 for p in path.parents)]


def _other_user(ground: Ground) -> str:
    _, files = _laid_out(ground)
    read = _read_by_others(files)
    stopped(not read, f"read by another user: {', '.join(read)}")
    return f"{len(files)} files with hidden items or the secret cannot be read by the host's other users"


def _open_folders(ground: Ground) -> str:
    data, files = _laid_out(ground)
    data.dir.chmod(0o755)
    read = _read_by_others(files)
    stopped(not read, f"read by another user: {', '.join(read)}")
    return "nothing"


def _opened_later(ground: Ground) -> str:
    """Somebody opens what was closed: before a run begins it is looked at again."""
    data, files = _laid_out(ground)
    cache = files[0].parent
    expect(check_modes(cache, [data.dir]).ok, "closed data is called open")
    accepted = []
    for path, mode in ((data.dir, 0o711), (data.dir, 0o750), (data.dir, 0o707), (files[0], 0o640), (files[0], 0o604)):
        before = path.stat().st_mode
        path.chmod(mode)
        accepted += [f"{path.name} {mode:o}"] if check_modes(cache, [data.dir]).ok else []
        path.chmod(before)
    stopped(not accepted, f"called closed: {', '.join(accepted)}")
    return "folders and secrets that group or others may enter or read are named, and no run begins"


ATTACKS = (
    Attack(
        40, "reads-a-cache-below-the-system", Where.SANDBOX,
        "read hidden items of an installation whose cache lies below /usr or Python's own folder",
        "of the host's system a sandbox shows what is on a list, and nothing that lies beside it",
        _below_the_system, _unlooked_at,
    ),
    Attack(
        40, "reads-a-cache-below-what-is-shown", Where.SANDBOX,
        "read hidden items of an installation whose cache lies in a folder that sandboxes must be shown, or behind a link to it",
        "no run begins there; doctor and `data verify` say so",
        _below_what_is_shown, _unlooked_at,
    ),
    Attack(
        40, "reads-hidden-items-as-another-user", Where.ARTEFACT,
        "read hidden and dev items, their manifest and the secret as another user of the host",
        "prepared data lies in folders that nobody else enters; the secret is its owner's alone",
        _other_user, _open_folders,
    ),
    Attack(
        40, "opens-what-was-closed", Where.ARTEFACT,
        "let group or others into prepared data or to the secret after it was made",
        "modes are looked at before a run begins, and by doctor and `data verify`",
        _opened_later, _open_folders,
    ),
)  # fmt: skip
