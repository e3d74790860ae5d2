"""What a run's GPUs do while its agent works, into the events; and whose failure it is when one breaks down.

A thread of its own: nvidia-smi takes seconds where the driver is slow, and the clock must not wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from harness.sandbox.gpus import held_by
from harness.sandbox.nvidia.driver import HOST, DriverTree, Gpu, look
from harness.sandbox.nvidia.smi import GpuStatus
from harness.sandbox.nvidia.tenants import Tenant, remaining, tenants
from harness.sandbox.nvidia.xid import HARDWARE, read
from harness.session.journal import Journal
from harness.spec.errors import DojoError, SandboxUnavailable, StoreError
from harness.spec.event import Failed, GpuFault, GpuHeld, GpuSampled
from harness.spec.gpu import GpuFigures, GpuProcess
from harness.spec.outcome import Cause, Death, Outcome

# Often enough to see a step of training, seldom enough that 12 hours are 1,440 lines; longer budgets are looked at less often.
_EVERY_S, _MOST = 30.0, 2_000
_MOST_FAULTS = 50
_BLAMED = (Cause.AGENT_ERROR, Cause.AGENT_BUDGET)


def gpus_of(owner: str, journal: Journal, tree: DriverTree = HOST) -> tuple[Gpu, ...]:
    """Return the GPUs of this host that a run's sandboxes have; none where its sandboxes are elsewhere.

    None too where MIG instances have names and nvidia-smi does not tell them now, which the events say: a run is not lost for
    want of figures.
    """
    names = held_by(owner)
    try:
        return tuple(gpu for gpu in look(tree).gpus if gpu.name in names) if names else ()
    except DojoError as exc:
        journal.emit(Failed(where="looking at the GPUs", message=exc.message, code=exc.code, hint=exc.hint))
        return ()


def cards(gpus: Sequence[Gpu]) -> list[str]:
    """Return what nvidia-smi calls the cards that these GPUs are, or are instances of; each once."""
    return list(dict.fromkeys(gpu.uuid or str(gpu.index) for gpu in gpus))


class GpuWatch:
    """Samples a run's GPUs into its events until it is stopped.

    Args:
        journal: the run's events.
        gpus: which.
        sandboxes: ids of the run's sandboxes: whose processes are no strangers.
        wall_s: how long the agent may work; decides how often is looked.
        since_s: for how long it has worked: errors of that time count too, where a harness takes a run over.
        tree: where the driver's things are.
        log: the kernel's.
    """

    def __init__(
        self,
        journal: Journal,
        gpus: Sequence[Gpu],
        sandboxes: Sequence[str] = (),
        *,
        wall_s: float = 0.0,
        since_s: float = 0.0,
        tree: DriverTree = HOST,
        log: Path = Path("/dev/kmsg"),
    ) -> None:
        self._journal, self._gpus, self._sandboxes, self._tree, self._log = journal, tuple(gpus), sandboxes, tree, log
        self._every = max(_EVERY_S, wall_s / _MOST)
        self._since = time.clock_gettime(time.CLOCK_MONOTONIC) - since_s
        self._buses = {gpu.bus.lower().rpartition(".")[0] for gpu in gpus if gpu.bus}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu-watch", daemon=True)
        self._faults: list[GpuFault] = []
        self._told: set[tuple[float, int]] = set()
        self._silent = False

    def start(self) -> None:
        """Begin to look, where there is anything to look at."""
        if self._gpus:
            self._thread.start()

    def stop(self) -> None:
        """Look a last time for errors, and end."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._gpus:
            self.look_for_faults()

    def blamed(self, outcome: Outcome) -> Outcome:
        """Return how the agent phase ended: by the hardware, where that broke down and the agent did not get to its end."""
        fault = next((fault for fault in self._faults if fault.infrastructure), None)
        if fault is None or outcome.cause not in _BLAMED:
            return outcome
        message = f"a GPU broke down: {fault.message} ({outcome.message})"
        return Outcome(cause=Cause.SANDBOX, phase="agent", message=message, exit_code=outcome.exit_code)

    def sample(self) -> None:
        """Look once at all GPUs. An nvidia-smi that does not answer is told once, and then not asked any more."""
        if self._silent:
            return
        try:
            found = self._tree.smi.status(cards(self._gpus))
        except DojoError as exc:
            self._silent = True
            if exc.code == "gpu_lost":
                self._fault(GpuFault(message=exc.message, infrastructure=True))
            self._journal.emit(Failed(where="looking at the GPUs", message=exc.message, code=exc.code, hint=exc.hint))
            return
        for status in found:  # the kernel says GPUs by their bus, which some containers do not show
            self._buses.add(status.bus.lower()[-12:].rpartition(".")[0])
        self._journal.emit(GpuSampled(gpus=tuple(map(_figures, found))))

    def look_for_faults(self) -> None:
        """Take new errors from the kernel's log, of this run's GPUs and time alone."""
        for xid in read(self._log):
            known = (xid.at_s, xid.number) in self._told
            if known or xid.at_s < self._since or (self._buses and xid.bus not in self._buses):
                continue
            self._told.add((xid.at_s, xid.number))
            words = f"XID {xid.number} on {xid.bus}" + (f", {HARDWARE[xid.number]}" if xid.hardware else "")
            self._fault(GpuFault(message=f"{words}: {xid.text}", xid=xid.number, infrastructure=xid.hardware))

    def _watch(self) -> None:
        try:
            self._tell_of_strangers()
            while True:
                self.sample()
                self.look_for_faults()
                if self._ended.wait(self._every):
                    return
        except StoreError:  # the run is another's, or nothing can be written: the phase itself comes upon it
            return

    def _tell_of_strangers(self) -> None:
        try:
            found = tenants(cards(self._gpus), self._sandboxes, self._tree.smi)
        except DojoError:  # the first look says why
            return
        if others := [tenant for tenant in found if not tenant.inside]:
            self._journal.emit(GpuHeld(others=_processes(others)))

    def _fault(self, fault: GpuFault) -> None:
        if len(self._faults) < _MOST_FAULTS:
            self._faults.append(fault)
            self._journal.emit(fault)


class GpuMemory:
    """GPU memory between agent and grader: seen while the agent's sandboxes live, and again when they are gone.

    Args:
        journal: the run's events.
        gpus: which.
        sandboxes: ids of the sandboxes that end.
    """

    def __init__(self, journal: Journal, gpus: Sequence[Gpu], sandboxes: Sequence[str], tree: DriverTree = HOST) -> None:
        self._journal, self._cards, self._smi = journal, cards(gpus), tree.smi
        self._before: list[Tenant] = []
        if gpus:
            try:
                self._before = tenants(self._cards, sandboxes, self._smi)
            except DojoError as exc:
                self._failed(exc)

    def tell_what_remains(self) -> None:
        """Wait until the driver has let go of what the ended sandboxes had, and record what it has not, and others' processes."""
        if not self._cards:
            return
        try:
            held, others = remaining(self._before, self._cards, self._smi)
        except DojoError as exc:
            self._failed(exc)
            return
        if held or others:
            self._journal.emit(GpuHeld(held=_processes(held), others=_processes(others), gpus=tuple(self._cards)))

    def _failed(self, exc: DojoError) -> None:
        self._journal.emit(Failed(where="looking at GPU memory", message=exc.message, code=exc.code, hint=exc.hint))
        self._cards = []


def require_free(found: GpuHeld | None, tree: DriverTree = HOST) -> None:
    """Refuse to grade while a process of the ended sandboxes still has GPU memory: there is no place for the grader.

    Raises:
        SandboxUnavailable: names the processes and their megabytes.
        MissingError, SandboxError: nvidia-smi does not say.
    """
    if found is None or not found.held:
        return
    pids = {process.pid for process in found.held}
    still = [process for process in tree.smi.processes(found.gpus) if process.pid in pids]
    if still:
        words = ", ".join(f"process {p.pid} ({p.name}) has {_megabytes(p.memory_mb)}" for p in still)
        message = f"GPU memory of the agent's sandbox is still held after its end: {words}"
        hint = "end those processes, or reset the GPU (nvidia-smi -r); then `dojo resume`, or grade again"
        raise SandboxUnavailable(message, hint=hint, death=Death(Cause.SCHEDULING, message))


def _figures(status: GpuStatus) -> GpuFigures:
    return GpuFigures(
        index=status.index,
        name=status.name,
        utilisation=status.utilisation,
        memory_mb=status.memory_used_mb,
        memory_total_mb=status.memory_total_mb,
        power_w=status.power_w,
        temperature_c=status.temperature_c,
    )


def _processes(found: Sequence[Tenant]) -> tuple[GpuProcess, ...]:
    return tuple(GpuProcess(pid=tenant.pid, memory_mb=tenant.memory_mb, name=tenant.name[:200]) for tenant in found)


def _megabytes(figure: float | None) -> str:
    return "memory, nobody says how much" if figure is None else f"{figure:.0f} MB"
