"""What runs for the agent, and killing all of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from . import tree
from .settings import Settings
from .waiting_child import IDLE_NAME, become_agent

# What is still there after so many rounds forks faster than it is killed.
_PATIENT_ROUNDS = 3


class AgentProcesses:
    """Everything that runs for the agent: by user where it has one of its own, else by descent from the workers."""

    def __init__(self, settings: Settings, command_service: int) -> None:
        self._privileged = settings.mode == "privileged"
        self._agent = settings.agent
        self._command_service = command_service

    def running(self) -> list[int]:
        """Return the processes, without those of ours that only wait for an order."""
        if not self._privileged:
            return [pid for pid in self._below_workers() if _name(pid) != IDLE_NAME]
        pids = [pid for pid in tree.all_pids() if tree.owner(pid) == self._agent and tree.running(pid)]
        spawners = {child for worker in tree.children(self._command_service) for child in tree.children(worker)}
        return [pid for pid in pids if not (pid in spawners and _name(pid) == IDLE_NAME)]

    def kill(self, rounds_before: int = 0) -> list[int]:
        """Send SIGKILL to all of it once; return what is left."""
        if not self._privileged:
            # waiting children too: their name is no proof, and a worker makes itself a new one
            _kill_each(self._below_workers, rounds_before)
            return self._below_workers()
        try:
            _kill_as_agent(self._agent)
        except OSError:  # no process can be made, where the limits are ours too
            _kill_each(self.running, rounds_before)
        return self.running()

    def uncollected(self) -> bool:
        """Whether dead processes are still there: each takes a place in the process limit, and the next command has none."""
        if self._privileged:
            pids = [pid for pid in tree.all_pids() if tree.owner(pid) == self._agent]
        else:
            pids = [pid for worker in tree.children(self._command_service) for pid in tree.descendants(worker)]
        return any(tree.dead(pid) for pid in pids)

    def _below_workers(self) -> list[int]:
        """Return everything that workers started, parents first: one that sees its child die must not go on."""
        below = [pid for worker in tree.children(self._command_service) for pid in tree.descendants(worker)]
        return [pid for pid in below if tree.running(pid)]


def _kill_each(find: Callable[[], list[int]], rounds_before: int) -> None:
    pids = find()
    if rounds_before >= _PATIENT_ROUNDS:
        for pid in pids:  # the stopped part only grows, and a stopped process cannot fork
            tree.send(pid, signal.SIGSTOP)
        pids = find()
    for pid in pids:
        tree.send(pid, signal.SIGKILL)


def _kill_as_agent(agent: int) -> None:
    """Send SIGKILL to everything the agent's user may signal: one call, so nothing can fork past it."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    try:
        become_agent(agent)
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nothing there
    finally:
        os._exit(0)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
