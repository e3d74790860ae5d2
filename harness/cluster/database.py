"""The Secrets of an installation: where the database is, and the password of one that came with it. They are never told."""

from __future__ import annotations

import base64
import secrets
from urllib.parse import quote

from harness.cluster import objects
from harness.cluster.kustomize import Object
from harness.executor.kubernetes.settings import RunnerSettings
from harness.spec.errors import MissingError, UsageError

POSTGRES = "dojo-postgres"
"""The Service, StatefulSet, claim and Secret of the database that comes with an installation."""

_PORT = 5432


def password(namespace: str) -> Object:
    """Return the Secret with the database's password: the one that is there, or a new one."""
    there = objects.read("Secret", namespace, POSTGRES)
    value = _value(there, "password") if there else secrets.token_urlsafe(32)
    return _secret(namespace, POSTGRES, {"password": value})


def require_postgres(given: str | None) -> None:
    """Refuse an address that is none of PostgreSQL.

    Raises:
        UsageError: it is not; it is not repeated, as it may hold a password.
    """
    if given is not None and not given.startswith(("postgresql://", "postgresql+psycopg://")):
        raise UsageError("--database is no address of a PostgreSQL database", hint="postgresql://user:password@host/name")


def address(namespace: str, given: str | None, own_password: str | None) -> Object | None:
    """Return the Secret with the database's address, as pods reach it.

    Args:
        namespace: where.
        given: an address that the operator gave (see `require_postgres`); None: it is the database of this installation, or one
            that is known already.
        own_password: of the database of this installation; None: there is none.

    Returns:
        None: the Secret is there already and nothing changes it, so that it stays whoever's it is.

    Raises:
        MissingError: nothing says where the database is.
    """
    name = RunnerSettings.from_environment().database
    if given is not None:
        return _secret(namespace, name, {"url": given})
    if own_password is not None:
        # its number and not its name: there are clusters without a name service
        service = objects.read("Service", namespace, POSTGRES) or {}
        host = (service.get("spec") or {}).get("clusterIP") or f"{POSTGRES}.{namespace}.svc"
        host = f"[{host}]" if ":" in host else host
        return _secret(namespace, name, {"url": f"postgresql://dojo:{quote(own_password, safe='')}@{host}:{_PORT}/dojo"})
    if objects.read("Secret", namespace, name) is None:
        raise MissingError(
            f"nothing says where the database is: there is no Secret {name} in the namespace {namespace}",
            hint="give --with-postgres, or --database URL (- reads it from standard input)",
        )
    return None


def value_of(secret: Object, key: str) -> str:
    """Return a value of a Secret that is about to be applied."""
    return _value(secret, key)


def _secret(namespace: str, name: str, values: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def _value(secret: Object, key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()
