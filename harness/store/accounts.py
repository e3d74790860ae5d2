"""Users, their tokens, what they have used, and who did what: the tables of a service beside the index.

A token is ``dojo_ID_SECRET``. The store keeps the SHA-256 of its secret, which is 256 bits of chance, so the digest alone lets
nobody in and needs no salt. What a user sets aside and what the quota allows are looked at in one transaction.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar, get_args

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from harness.spec.accounts import Account, AuditEntry, Charge, NewToken, Quota, QuotaName, Role, Spent, Token, user_name
from harness.spec.errors import NotFoundError, QuotaExceeded, UsageError
from harness.spec.outcome import RunState
from harness.store.tables import audit, charges, runs, tokens, users

T = TypeVar("T")
_PREFIX = "dojo"
# What an unknown token is compared with, so that it takes as long as a known one.
_NOBODY = "0" * 64
# A charge whose run is not in the index after so long belongs to a submit that died before it wrote its runs down.
_STALE = timedelta(hours=1)
_FINAL = [state.value for state in RunState if state.final]
_WORDS = {
    "runs_at_once": ("runs at once", "wait until some have ended"),
    "runs_in_total": ("runs in total", "ask an operator for more: `dojo tokens quota USER --runs-in-total N`"),
    "gpu_hours": ("GPU-hours", "ask for less with --budget wall=…, or an operator for more"),
    "dollars": ("dollars", "ask for less with --budget dollars=…, or an operator for more"),
}


class Transaction(Protocol):
    """Runs what it is given on a connection, in a transaction of its own."""

    def __call__(self, work: Callable[[Connection], T], /) -> T:
        """Return what the work returns."""
        ...


class Accounts:
    """The tables of a service in one database.

    Args:
        write: runs a change in a transaction of its own.
        look: runs a query; raises where the database does not answer, so that nobody is let in or kept out by its silence.
    """

    def __init__(self, write: Transaction, look: Transaction) -> None:
        self._write, self._look = write, look

    def create_token(self, user: str, role: Role, note: str = "") -> NewToken:
        """Make a token, and its user where there is none of this name; what is returned holds the secret, which is told once."""
        user, number, secret = user_name(user), secrets.token_hex(6), secrets.token_urlsafe(32)
        if len(note) > 200 or not note.isprintable():
            raise UsageError(f"the note {note[:40]!r} is too long, or cannot be shown", hint="up to 200 printable characters")
        made = Token(id=number, user=user, role=role, created=datetime.now(UTC), note=note)

        def change(connection: Connection) -> None:
            _add_user(connection, user)
            values = made.model_dump(exclude={"revoked"}) | {"role": role.value, "digest": _digest(secret)}
            connection.execute(insert(tokens).values(**values))

        self._write(change)
        return NewToken(**made.model_dump(), token=f"{_PREFIX}_{number}_{secret}")

    def tokens(self) -> list[Token]:
        """Return every token that was made, the oldest first."""
        query = select(*_TOKEN).order_by(tokens.c.created, tokens.c.id)
        return self._look(lambda connection: [Token.model_validate(row._mapping) for row in connection.execute(query)])

    def revoke_token(self, reference: str) -> Token:
        """Let nobody in with a token any more; revoking twice is no error.

        Raises:
            NotFoundError: there is none of this id or unique prefix.
        """
        known = [token.id for token in self.tokens()]
        found = [token for token in known if token.startswith(reference)] if reference else []
        if len(found) != 1:
            raise NotFoundError(f"no token, or more than one, is called {reference[:40]!r}", hint="`dojo tokens list` shows ids")

        def change(connection: Connection) -> Token:
            this = tokens.c.id == found[0]
            connection.execute(update(tokens).where(this, tokens.c.revoked.is_(None)).values(revoked=datetime.now(UTC)))
            return Token.model_validate(connection.execute(select(*_TOKEN).where(this)).one()._mapping)

        return self._write(change)

    def authenticate(self, text: str) -> Token | None:
        """Return whose token this is; None where it is nobody's, or revoked. Takes as long for any secret."""
        prefix, _, rest = text.partition("_")
        number, _, secret = rest.partition("_")
        query = select(*_TOKEN, tokens.c.digest).where(tokens.c.id == number[:40])
        row = self._look(lambda connection: connection.execute(query).first())
        same = hmac.compare_digest(_digest(secret), row.digest if row is not None else _NOBODY)
        if row is None or not same or prefix != _PREFIX or row.revoked is not None:
            return None
        return Token.model_validate({name: value for name, value in row._mapping.items() if name != "digest"})

    def set_quota(self, user: str, quota: Quota) -> None:
        """Say what a user may use from now on; what runs already goes on."""

        def change(connection: Connection) -> None:
            _add_user(connection, user_name(user))
            connection.execute(update(users).where(users.c.name == user).values(**quota.model_dump()))

        self._write(change)

    def quota(self, user: str) -> Quota:
        """Return what a user may use; nothing limits one whom nobody set a quota."""
        return self._look(lambda connection: _quota(connection, user))

    def accounts(self) -> list[Account]:
        """Return every user with quota and use."""

        def look(connection: Connection) -> list[Account]:
            names = connection.scalars(select(users.c.name).order_by(users.c.name)).all()
            return [Account(user=name, quota=_quota(connection, name), spent=_spent(connection, name)) for name in names]

        return self._look(look)

    def reserve(self, user: str, wanted: Sequence[Charge]) -> None:
        """Set aside what runs may use, all or nothing; of two who ask at once for the last of a quota one is refused.

        Raises:
            QuotaExceeded: names the quota, what is asked for and what is left; nothing was set aside.
        """
        now = datetime.now(UTC)

        def change(connection: Connection) -> None:
            _add_user(connection, user)
            connection.execute(select(users.c.name).where(users.c.name == user).with_for_update())
            stale = charges.c.created < now - _STALE
            connection.execute(delete(charges).where(charges.c.user == user, stale, charges.c.run.not_in(select(runs.c.id))))
            _check(user, _quota(connection, user), _spent(connection, user), wanted)
            rows = [{"run": one.run, "user": user, "gpu_hours": one.gpu_hours, "dollars": one.dollars or 0.0} for one in wanted]
            connection.execute(insert(charges), [row | {"settled": False, "created": now} for row in rows])

        self._write(change)

    def give_back(self, wanted: Sequence[str]) -> None:
        """Take charges back whose runs never came to be."""
        self._write(lambda connection: connection.execute(delete(charges).where(charges.c.run.in_(list(wanted)))).close())

    def open_charges(self, user: str) -> list[str]:
        """Return a user's runs that have ended and whose charge is still what was set aside."""
        query = (
            select(charges.c.run)
            .join(runs, runs.c.id == charges.c.run)
            .where(charges.c.user == user, charges.c.settled.is_(False), runs.c.state.in_(_FINAL))
        )
        return self._look(lambda connection: list(connection.scalars(query)))

    def settle(self, used: Sequence[Charge]) -> None:
        """Write down what runs that have ended have used."""

        def change(connection: Connection) -> None:
            for one in used:
                values = {"gpu_hours": one.gpu_hours, "dollars": one.dollars or 0.0, "settled": True}
                connection.execute(update(charges).where(charges.c.run == one.run).values(**values))

        if used:
            self._write(change)

    def record(self, user: str, token: str, action: str, subject: str = "", outcome: str = "ok", request: str = "") -> None:
        """Add a line to the audit log."""
        values = {"user": user[:40], "token": token, "action": action, "subject": subject[:200], "outcome": outcome[:40]}
        row = {**values, "time": datetime.now(UTC), "request": request}
        self._write(lambda connection: connection.execute(insert(audit).values(**row)).close())

    def audit(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """Return the newest lines of the audit log, the newest first; ``before`` goes on from a number."""
        query = select(audit).order_by(audit.c.number.desc()).limit(limit)
        query = query if before is None else query.where(audit.c.number < before)
        return self._look(lambda connection: [AuditEntry.model_validate(row._mapping) for row in connection.execute(query)])


_TOKEN = (tokens.c.id, tokens.c.user, tokens.c.role, tokens.c.created, tokens.c.revoked, tokens.c.note)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _add_user(connection: Connection, user: str) -> None:
    if connection.execute(select(users.c.name).where(users.c.name == user)).first() is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(users).values(name=user))
        except IntegrityError:  # another process was faster
            pass


def _quota(connection: Connection, user: str) -> Quota:
    row = connection.execute(select(users).where(users.c.name == user)).first()
    return Quota() if row is None else Quota(**{name: getattr(row, name) for name in get_args(QuotaName)})


def _spent(connection: Connection, user: str) -> Spent:
    mine = charges.c.user == user
    total, gpu_hours, dollars = connection.execute(
        select(func.count(), func.coalesce(func.sum(charges.c.gpu_hours), 0.0), func.coalesce(func.sum(charges.c.dollars), 0.0))
        .where(mine)
    ).one()  # fmt: skip
    ended = select(runs.c.id).where(runs.c.state.in_(_FINAL))
    going = select(func.count()).where(mine, charges.c.run.not_in(ended))
    return Spent(runs_at_once=connection.execute(going).scalar_one(), runs_in_total=total, gpu_hours=gpu_hours, dollars=dollars)


def _check(user: str, quota: Quota, spent: Spent, wanted: Sequence[Charge]) -> None:
    asked: dict[QuotaName, float | None] = {
        "runs_at_once": len(wanted),
        "runs_in_total": len(wanted),
        "gpu_hours": sum(one.gpu_hours for one in wanted),
        "dollars": None if any(one.dollars is None for one in wanted) else sum(one.dollars or 0.0 for one in wanted),
    }
    for name, more in asked.items():
        limit, used = getattr(quota, name), getattr(spent, name)
        what, hint = _WORDS[name]
        if limit is None or (more is not None and used + more <= limit):
            continue
        asks = "these runs may cost without bound" if more is None else f"{more:g} more are asked for"
        raise QuotaExceeded(
            f"the quota of {user} for {what} is {limit:g}: {used:g} are used or set aside, {asks}",
            hint=hint,
            code=f"quota_{name}",
        )
