"""The three standard streams of this process, whatever the caller has made of them: the work goes on without its display."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Any

# What stands in for a descriptor that was closed. Standard output gets one that refuses: a result that nobody gets is noticed.
_STANDINS = (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))


class _Around(ABC):
    """A stream, of text or below it of bytes, with a way of its own to fail."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, piece: Any) -> int:
        """Write."""
        with self._failing():
            self._stream.write(piece)
        return len(piece)

    def writelines(self, lines: Iterable[Any]) -> None:
        """Write lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush."""
        with self._failing():
            self._stream.flush()

    @property
    def buffer(self) -> Any:
        """The bytes below, which click writes to; they fail likewise."""
        below = copy.copy(self)
        below._stream = self._stream.buffer
        return below

    @abstractmethod
    def _failing(self) -> AbstractContextManager[None]:
        """Stand around every call on the stream."""

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # it is being copied
            raise AttributeError(name)
        return getattr(self._stream, name)


class Quiet(_Around):
    """A stream for people, who may be gone and whose disk may be full: what it does not take is dropped, nothing is raised."""

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            pass
        except ValueError:
            if not self._stream.closed:
                raise


class Watched(_Around):
    """A stream for results, that remembers how it failed."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._failures: list[OSError] = []

    def raised(self, exc: BaseException) -> bool:
        """Whether an exception is one of this stream's own."""
        return any(exc is failure for failure in self._failures)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            self._failures.append(exc)
            raise


@contextlib.contextmanager
def usable() -> Iterator[Watched]:
    """Give the process three open standard streams that say every character somehow, of which standard error never fails.

    A closed descriptor would be given to the next file that is opened, the database for one, and whatever is printed would land
    in it. At the end nothing is left for Python to flush, which would change the exit code. Yields standard output.
    """
    for number, (name, flags, mode) in enumerate(_STANDINS):
        if not _is_open(number):
            _stand_in(number, flags)
            setattr(sys, name, None)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  (as long as the process)
    stdout, stderr = sys.stdout, sys.stderr
    for stream in (stdout, stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    watched = Watched(stdout)
    sys.stdout, sys.stderr = watched, Quiet(stderr)
    try:
        yield watched
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        for stream in (stdout, stderr):
            if not _is_flushed(stream):
                silence(stream)


def silence(stream: IO[str]) -> None:
    """Let a stream write into nothing from now on, with what it still holds."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _is_flushed(stream: IO[str]) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    except ValueError:  # closed by whoever called us in this process
        return True
    return True


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _stand_in(number: int, flags: int) -> None:
    null = os.open(os.devnull, flags)
    if null == number:
        os.set_inheritable(null, True)
    else:
        os.dup2(null, number)
        os.close(null)
