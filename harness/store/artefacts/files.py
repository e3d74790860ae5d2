"""Two ways to objects by path: a bucket over obstore, and any file system that fsspec knows.

What they raise is what those libraries raise; a path that is not there is a FileNotFoundError. `place` makes words of it.

fsspec has an S3 of its own (s3fs), whose dependencies exclude those of training, and obstore as a file system: that reads whole
objects into memory or by ranges that not every store serves, and does not send files with every name.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

# Read or sent at a time; so many pieces of a file are on their way at once, all of them in memory. S3 takes 10,000 of a file.
_PIECE, _AT_ONCE = 8 * 1024 * 1024, 4
# A store that answers with errors, or not at all, is asked so often again, which takes some seconds: a run's end waits for it.
_RETRIES, _CONNECT_S = 4, 10
# A piece that is not there by then is asked for again; an object as a whole may take as long as it takes.
_SILENT_S, _WHOLE_S = 120, 86400
# A signal that another thread is given is heard when this one wakes.
_WAKE_S = 0.3


class Files(Protocol):
    """Objects by path below one root. What is written appears whole or not at all."""

    def read(self, path: str) -> bytes:
        """Return a small object."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write a small object."""
        ...

    def send(self, path: str, source: Path) -> None:
        """Write a file, streamed."""
        ...

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield an object in pieces."""
        ...

    def remove(self, path: str) -> None:
        """Delete an object."""
        ...

    def listing(self, path: str) -> dict[str, int | None]:
        """Return what lies directly in a folder: name → bytes, None for a folder. "" is the root."""
        ...


class Bucket:
    """An S3-compatible store, by the AWS_* variables.

    Args:
        bucket: its name.
        prefix: what all paths begin with; may be "".
        environment: what says whether the store speaks without TLS.
    """

    def __init__(self, bucket: str, prefix: str, environment: Mapping[str, str]) -> None:
        from obstore.store import S3Store

        endpoint = environment.get("AWS_ENDPOINT_URL") or environment.get("AWS_ENDPOINT") or ""
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=_CONNECT_S),
                "read_timeout": timedelta(seconds=_SILENT_S),
                "timeout": timedelta(seconds=_WHOLE_S),
            },
            retry_config={"max_retries": _RETRIES},
        )

    def read(self, path: str) -> bytes:
        """See `Files`."""
        return _aside(lambda: bytes(self._store.get(path).bytes()))

    def write(self, path: str, data: bytes) -> None:
        """See `Files`."""
        _aside(lambda: self._store.put(path, data))

    def send(self, path: str, source: Path) -> None:
        """See `Files`."""
        with source.open("rb") as file:
            _aside(lambda: self._store.put(path, file, chunk_size=_PIECE, max_concurrency=_AT_ONCE))

    def stream(self, path: str) -> Iterator[bytes]:
        """See `Files`."""
        pieces = iter(_aside(lambda: self._store.get(path)).stream(min_chunk_size=_PIECE))
        while (piece := _aside(lambda: next(pieces, None))) is not None:
            yield bytes(piece)

    def remove(self, path: str) -> None:
        """See `Files`."""
        _aside(lambda: self._store.delete(path))

    def listing(self, path: str) -> dict[str, int | None]:
        """See `Files`."""
        found = _aside(lambda: self._store.list_with_delimiter(path or None))
        folders = {_last(each): None for each in found["common_prefixes"]}
        return {**folders, **{_last(each["path"]): each["size"] for each in found["objects"]}}


class FileSystem:
    """What fsspec opens by a scheme.

    Args:
        scheme: such as ``file``.
        root: a path of that file system, or a bucket and a prefix.

    Raises:
        ImportError: what the scheme needs is not installed.
        ValueError: no such scheme is known.
    """

    def __init__(self, scheme: str, root: str) -> None:
        import fsspec

        self._files: Any = fsspec.filesystem(scheme, skip_instance_cache=True)
        self._root, self._here = root, scheme == "file"

    def read(self, path: str) -> bytes:
        """See `Files`."""
        found: bytes = self._files.cat_file(self._at(path))
        return found

    def write(self, path: str, data: bytes) -> None:
        """See `Files`."""
        with self._whole(path) as place:
            self._files.pipe_file(place, data)

    def send(self, path: str, source: Path) -> None:
        """See `Files`."""
        with self._whole(path) as place:
            self._files.put_file(str(source), place)

    def stream(self, path: str) -> Iterator[bytes]:
        """See `Files`."""
        with self._files.open(self._at(path), "rb") as source:
            while piece := source.read(_PIECE):
                yield piece

    def remove(self, path: str) -> None:
        """See `Files`."""
        self._files.rm_file(self._at(path))

    def listing(self, path: str) -> dict[str, int | None]:
        """See `Files`."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._at(path), detail=True)
        except FileNotFoundError:
            return {}
        return {_last(each["name"]): each["size"] if each["type"] == "file" else None for each in found}

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _whole(self, path: str) -> Iterator[str]:
        """Yield where to write: object stores show nothing half written, a folder of this machine needs a rename for that."""
        place = self._at(path)
        if not self._here:
            yield place
            return
        os.makedirs(self._root, mode=0o700, exist_ok=True)  # what is hidden from agents lies in it
        os.makedirs(os.path.dirname(place), exist_ok=True)
        partial = f"{os.path.dirname(place)}/.part-{secrets.token_hex(6)}"
        try:
            yield partial
            os.rename(partial, place)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise


def _aside(act: Callable[[], T]) -> T:
    """Do something in a thread that nobody waits for at the end: whoever is inside obstore does not hear Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        return act()
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(act())
        except BaseException as exc:
            done.set_exception(exc)

    threading.Thread(target=work, daemon=True, name="artefacts").start()
    while not wait([done], _WAKE_S).done:
        pass
    return done.result()


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
