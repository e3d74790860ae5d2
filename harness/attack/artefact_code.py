"""Attacks by a model's code on the process that runs it: its files, its time, its signals are closed (row 30)."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.taskkit.scoring import lockdown

_CODE = Path(lockdown.__file__).resolve().parents[3]
_START_S = 60.0
# argv: harness's folder, own folder, victim's folder, victim's process, libraries or "" for not being shut in.
# Each attempt is one that the file system's rules allow: victim and attacker are one user.
_PROGRAM = """
import ctypes, fcntl, json, os, struct, sys
code, own, victim, process, libraries = sys.argv[1:]
process = int(process)
sys.path.insert(0, code)
from harness.taskkit.scoring import lockdown
os.chdir(own)
near, far = os.pipe()
libc = ctypes.CDLL(None, use_errno=True)
machine = os.uname().machine == "x86_64"
def call(*numbers):
    number, *arguments = numbers
    if libc.syscall(number[0] if machine else number[1], *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
kept = victim + "/kept"
attempts = {
    "chmod": lambda: os.chmod(victim, 0o700),
    "fchmodat": lambda: os.chmod("kept", 0o600, dir_fd=os.open(victim, os.O_PATH)),
    "fchmodat2": lambda: call((452, 452), -100, kept.encode(), 0o600, 0),
    "chown": lambda: os.chown(kept, os.getuid(), os.getgid()),
    "lchown": lambda: os.lchown(kept, os.getuid(), os.getgid()),
    "utime": lambda: os.utime(kept, (1, 1)),
    "setxattr": lambda: os.setxattr(kept, "user.x", b"1"),
    "removexattr": lambda: os.removexattr(kept, "user.mark"),
    "truncate": lambda: os.truncate(kept, 0),
    "a further name": lambda: os.link(kept, own + "/mine"),
    "signals for its pipe": lambda: fcntl.fcntl(near, fcntl.F_SETOWN, process),
    "signals for its pipe, the other way": lambda: fcntl.fcntl(near, 15, struct.pack("ii", 1, process)),
    "lowest scheduling": lambda: os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0)),
    "niceness": lambda: os.setpriority(os.PRIO_PROCESS, process, 19),
    "lowest disk priority": lambda: call((251, 30), 1, process, 3 << 13),
    "one core": lambda: os.sched_setaffinity(process, {0}),
    "limits": lambda: __import__("resource").prlimit(process, __import__("resource").RLIMIT_NOFILE),
    "a signal": lambda: os.kill(process, 0),
}
os.setxattr(kept, "user.mark", b"1")
if libraries:
    lockdown.shut_in(own, json.loads(libraries), 20)
done = []
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        continue
    done.append(name)
print(json.dumps(done))
"""


def _attempted(ground: Ground, libraries: str) -> str:
    own, victim = ground.folder(), ground.folder()
    kept = victim / "kept"
    kept.write_text("kept")
    sleeper = subprocess.Popen(["sleep", str(_START_S)])
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-B", "-c", _PROGRAM, str(_CODE), str(own), str(victim), str(sleeper.pid), libraries],
            capture_output=True, timeout=_START_S, check=False, text=True,
        )  # fmt: skip
    finally:
        sleeper.kill()
        sleeper.wait()
    if child.returncode != 0:
        raise NotStopped(f"the attack itself broke: {child.stderr[-500:]}")
    done = json.loads(child.stdout)
    stopped(not done and kept.read_text() == "kept", f"{', '.join(done)} succeeded on what belongs to the worker")
    return "refused: everything that changes another's files, priority, place or signals"


def _shut_in(ground: Ground) -> str:
    paths = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), "/usr", "/lib", "/lib64", "/bin"} - {"", "/"}
    return _attempted(ground, json.dumps(sorted(paths)))


def _at_large(ground: Ground) -> str:
    return _attempted(ground, "")


ATTACKS: tuple[Attack, ...] = (
    Attack(
        30, "touches-its-worker", Where.ARTEFACT,
        "change modes, owners, times and attributes of the grader's files, its signals and its priority from a model's code",
        "the calls are taken away from code that is shut in",
        _shut_in, _at_large,
    ),
)  # fmt: skip
