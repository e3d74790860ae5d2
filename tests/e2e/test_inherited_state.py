"""A whole run that is started with all that a caller can spoil: it is the run that it would have been."""

import os
import resource
import signal

import pytest

from tests.e2e.conftest import Commands

pytestmark = pytest.mark.e2e


def spoil() -> None:
    """In the process that becomes dojo: umask, signals, limits, niceness and descriptors."""
    os.umask(0o077)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM])
    for kind, soft in ((resource.RLIMIT_NOFILE, 128), (resource.RLIMIT_FSIZE, 1 << 20)):
        resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1]))
    os.nice(3)
    for extra in (50, 60):
        os.dup2(1, extra)
    os.close(0)


def test_umask_signals_limits_locale_and_descriptors_of_the_caller_change_nothing(dojo: Commands) -> None:
    dojo.environ.update({"LC_ALL": "POSIX", "LANG": ""})
    process = dojo.start(*dojo.submit("base"), "--json", before=spoil)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, (out, err)
    assert '"state": "done"' in out and '"cause": "completed"' in out, (out, err)
