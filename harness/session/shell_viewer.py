"""A viewer of a shell's screen inside a sandbox: prints it for one terminal, from where it is told, and makes way for the next.

This file runs in the sandbox as the agent's user (``python -P -c``) with nothing but the standard library.
``FOLDER OFFSET LIMIT NAME [BEFORE]`` are its arguments: it prints the screen of the shell in FOLDER (shell_bridge.py) from a byte
offset on and ends with the shell. After LIMIT bytes it keeps still until the viewer that is started with its NAME as BEFORE has
taken its place.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

# Its exit code when the shell goes on without it.
_LET_GO = 3
# How long it waits for the shell, or the viewer before it, to be there, seconds; and for the one after it, on a busy machine.
_APPEAR_S, _FOLLOWED_S = 10.0, 60.0


def view(folder: str, offset: int, limit: int, name: str, before: str = "") -> int:
    """Print the screen from ``offset`` on until the shell ends, or ``limit`` bytes; return 0 if it has ended."""
    try:
        viewer = _taken_over(f"{folder}/{before}") if before else _connected(folder, offset)
    except OSError:
        viewer = _connected(folder, offset)
    if viewer is None:
        return 1
    while data := viewer.recv(min(limit, 65536)):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        limit -= len(data)
        if limit == 0:
            with contextlib.suppress(OSError):
                _hand_over(f"{folder}/{name}", viewer)
            return _LET_GO
    return _LET_GO if os.path.exists(f"{folder}/screen") else 0


def _connected(folder: str, offset: int) -> socket.socket | None:
    """Return a connection to the shell's screen, None where there is none."""
    viewer = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + _APPEAR_S
    while True:
        try:
            viewer.connect(f"{folder}/screen")
            break
        except OSError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)
    viewer.sendall(b"%d\n" % offset)
    return viewer


def _hand_over(place: str, viewer: socket.socket) -> None:
    """Give a connection to whoever comes, with all that has not been read of it: no byte is lost between two viewers."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen()
        listening.settimeout(_FOLLOWED_S)
        with listening.accept()[0] as follower:
            socket.send_fds(follower, [b"."], [viewer.fileno()])
    os.unlink(place)


def _taken_over(place: str) -> socket.socket:
    """Return the connection of the viewer before, once it gives it.

    Raises:
        OSError: it does not.
    """
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_APPEAR_S)
        deadline = time.monotonic() + _APPEAR_S
        while True:
            try:
                asking.connect(place)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        descriptors = socket.recv_fds(asking, 1, 1)[1]
    if not descriptors:
        raise ConnectionError(place)
    return socket.socket(fileno=descriptors[0])


if __name__ == "__main__":
    sys.exit(view(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:6]))
