"""What a process takes over from whoever starts it and what would change its work: signals and limits."""

from __future__ import annotations

import resource
import signal

# Ignored, the first keeps children's endings from their parent, the second every timer. SIGHUP stays as nohup left it.
_NEEDED = (signal.SIGCHLD, signal.SIGALRM)
_LIMITS = ("NOFILE", "FSIZE", "CPU", "DATA", "AS", "NPROC")


def settle() -> None:
    """Let signals come, and use all of each limit that may be used: the soft ones are what a shell happened to set."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in _NEEDED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for name in _LIMITS:
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (hard, hard))
