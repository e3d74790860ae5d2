"""Starting each command in the cheapest way there is for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TypeVar

from . import syscalls, tree
from .agent_spawner import Spawner
from .settings import Settings
from .waiting_child import IDLE_NAME, Child, ChildLost, Order, WaitingChild, prepare

T = TypeVar("T")
_OWN_NAME = "dojo-worker"
# a thousandth of the sandbox's memory a point, so any command is worth more than the largest worker
_MORE_OOM_SCORE, _MOST = 500, 1000


class Launcher:
    """Starts commands in the cheapest way there is for them, and has what that needs ready before it is needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ready: WaitingChild | None = None
        self._spawner: Spawner | None = None
        self._oom_score = os.open("/proc/self/oom_score_adj", os.O_RDWR)
        own = os.pread(self._oom_score, 16, 0)  # a container may not go below what it was given
        self._scores = own, str(min(int(own) + _MORE_OOM_SCORE, _MOST)).encode()

    def make_ready(self) -> None:
        """Make what the next command will need; a full sandbox is no error yet."""
        with contextlib.suppress(OSError):
            if self._settings.mode == "nested" and self._ready is None:
                self._ready = self._as_command(lambda: prepare(self._settings))
            elif self._settings.mode == "privileged" and self._spawner is None:
                self._spawner = self._as_command(lambda: Spawner(self._settings.agent))

    def close(self) -> None:
        """Give up the spawner: for whoever starts one last command and keeps it long."""
        if self._spawner is not None:
            self._spawner.close()
            self._spawner = None

    @property
    def spawner_pid(self) -> int:
        """The process that a tree's death must spare, 0 if there is none."""
        return self._spawner.pid if self._spawner else 0

    def launch(self, order: Order) -> Child:
        """Start a command.

        Raises:
            SpawnFailed: it cannot be run.
            OSError: the process limit is reached.
        """
        if self._spawner is not None and order.user == "agent":
            try:
                return self._spawner.start(order)
            except ChildLost:
                self.close()
        child, self._ready = self._ready, None
        if child is not None:
            with contextlib.suppress(ChildLost):
                return self._run(child, order)
        try:
            return self._run(self._as_command(lambda: prepare(self._settings)), order)
        except ChildLost as exc:
            raise OSError("the command's process was killed before it started") from exc

    def _as_command(self, fork: Callable[[], T]) -> T:
        """Fork something that the kernel kills for want of memory before any process of execd.

        A child is born with its parent's score and name, and never seen with others.
        """
        nested = self._settings.mode == "nested"
        with contextlib.suppress(OSError):
            os.pwrite(self._oom_score, self._scores[1], 0)
        if nested:
            syscalls.set_name(IDLE_NAME)
        try:
            return fork()
        finally:
            with contextlib.suppress(OSError):
                os.pwrite(self._oom_score, self._scores[0], 0)
            if nested:
                syscalls.set_name(_OWN_NAME)

    def _run(self, child: WaitingChild, order: Order) -> Child:
        try:
            child.run(order)
        except BaseException:
            child.close()
            tree.kill_own_tree(self.spawner_pid)
            raise
        return child
