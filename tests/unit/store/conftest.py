"""A PostgreSQL server from the system's packages, started for the tests and thrown away."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
_numbers = count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Start a server on a unix socket of its own and yield the socket's folder."""
    if not PROGRAMS:
        pytest.skip("no PostgreSQL server is installed; scripts/postgres.sh does it on Debian")
    pytest.importorskip("psycopg", reason="the driver is missing: pip install 'dojo-bench[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="dojo-pg-"))
    # the server refuses to run as root
    user: dict[str, object] = {}
    if os.getuid() == 0:
        account = pwd.getpwnam("postgres")
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        shutil.chown(folder, account.pw_uid, account.pw_gid)
    programs = PROGRAMS[-1].parent
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=100"
    try:
        for command in (
            [programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "dojo", "--locale=C.UTF-8", "-E", "UTF8"],
            [programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-o", options, "-w", "start"],
        ):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)  # type: ignore[call-overload]
        yield str(folder)
    finally:
        stop = [programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"]
        subprocess.run(stop, check=False, stdout=subprocess.DEVNULL, cwd="/", **user)  # type: ignore[call-overload]
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(server: str) -> Iterator[Callable[[], str]]:
    """Yield a maker of URLs of new, empty databases."""
    admin = create_engine(f"postgresql+psycopg://dojo@/postgres?host={server}", isolation_level="AUTOCOMMIT")

    def make() -> str:
        name = f"dojo_{os.getpid()}_{next(_numbers)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return f"postgresql://dojo@/{name}?host={server}"

    yield make
    admin.dispose()
