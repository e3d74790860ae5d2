"""People: who may use this installation over a service, how much of it, and what they did."""

from __future__ import annotations

from typing import Any

from harness.executor.planner import BatchPlan, worst_cost
from harness.service.plans import Plans
from harness.service.runs import Runs
from harness.spec.accounts import OWNER, Account, AuditEntry, Charge, NewToken, Quota, Role, Token, user_name
from harness.spec.errors import DojoError, NotFoundError, StoreError
from harness.spec.run import RunSpec
from harness.store.accounts import Accounts
from harness.store.base import RunFilter
from harness.store.database import SqlStore

_HERE = "local"


class People(Runs, Plans):
    """Tokens, quotas and the audit log."""

    @property
    def accounts(self) -> Accounts:
        """The tables behind them.

        Raises:
            StoreError: this is a single run's folder, which has none.
        """
        if not isinstance(self.store, SqlStore):
            raise StoreError(f"{self.home} has no accounts", hint="set DOJO_HOME to a results directory")
        return self.store.accounts

    def create_token(self, user: str, role: Role, note: str = "", by: str = _HERE) -> NewToken:
        """Make a token; its secret is in the answer and nowhere else.

        Raises:
            UsageError: the name or the note is none.
        """
        made = self.accounts.create_token(user, role, note)
        self.accounts.record(by, "", "token.create", f"{made.id} {user} {role.value}")
        return made

    def tokens(self) -> list[Token]:
        """Return every token that was made."""
        return self.accounts.tokens()

    def revoke_token(self, reference: str, by: str = _HERE) -> Token:
        """Let nobody in with a token any more.

        Raises:
            NotFoundError: there is none of this id or unique prefix.
        """
        token = self.accounts.revoke_token(reference)
        self.accounts.record(by, "", "token.revoke", token.id)
        return token

    def set_quota(self, user: str, changes: dict[str, Any], by: str = _HERE) -> Account:
        """Change what a user may use; a value of None lifts a limit.

        Raises:
            NotFoundError: nobody is called so.
        """
        if not any(account.user == user_name(user) for account in self.accounts.accounts()):
            names = [account.user for account in self.accounts.accounts()]
            raise NotFoundError.named("user", user, names)
        quota = Quota.model_validate({**self.accounts.quota(user).model_dump(), **changes})
        self.accounts.set_quota(user, quota)
        limits = ", ".join(f"{name}={value:g}" for name, value in quota.model_dump(exclude_none=True).items())
        self.accounts.record(by, "", "quota", f"{user} {limits or 'no limits'}")
        return self.account(user)

    def account(self, user: str) -> Account:
        """Return what a user may use, and has used; what has ended counts as it was, what goes on as it may be at most."""
        self._settle(user)
        found = [account for account in self.accounts.accounts() if account.user == user]
        if not found:
            raise NotFoundError.named("user", user, [account.user for account in self.accounts.accounts()])
        return found[0]

    def users(self) -> list[Account]:
        """Return every user as `account` does."""
        for account in self.accounts.accounts():
            self._settle(account.user)
        return self.accounts.accounts()

    def audit(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """Return the newest lines of the audit log, the newest first."""
        return self.accounts.audit(limit, before)

    def record_for(self, plan: BatchPlan, user: str) -> None:
        """Write a user's plan down within the user's quota; nothing is started.

        Raises:
            QuotaExceeded: names the quota; nothing was written down.
        """
        self._settle(user)
        self.accounts.reserve(user, [_charge(spec) for spec in plan.runs])
        try:
            self.record(plan.model_copy(update={"settings": {**plan.settings, OWNER: user}}))
        except BaseException:
            self.accounts.give_back([spec.id for spec in plan.runs])
            raise

    def owner_of(self, reference: str) -> str:
        """Return whose a batch or run is, by its whole id; "" for one that was submitted at the machine."""
        rows = self.store.batches(RunFilter(batch=reference)) or self.store.batches(RunFilter(runs=(reference,)))
        return str(rows[0].settings.get(OWNER, "")) if rows else ""

    def _settle(self, user: str) -> None:
        """Put what runs have used in place of what was set aside for them."""
        used = []
        for run in self.accounts.open_charges(user):
            try:
                result = self.store.files(run).result()
            except DojoError:  # a result that cannot be read: what was set aside stays
                continue
            hours = result.spec.limits.gpus * result.usage.wall / 3600 if result else 0.0
            used.append(Charge(run=run, gpu_hours=hours, dollars=(result.usage.dollars or 0.0) if result else 0.0))
        self.accounts.settle(used)


def _charge(spec: RunSpec) -> Charge:
    return Charge(run=spec.id, gpu_hours=spec.limits.gpus * spec.budget.wall / 3600, dollars=worst_cost([spec]))
