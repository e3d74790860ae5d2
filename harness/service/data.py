"""Data, models and schemas: what the cache holds, what would be fetched, what files look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.assets.base_models import prepare_base_model
from harness.assets.hidden_secret import HiddenSecret, installation_secret, set_secret
from harness.assets.prepare import PreparedTask, prepare_task
from harness.executor.planner import profile_of
from harness.sandbox.base import Check
from harness.sandbox.registry import get_backend
from harness.service.bench import Bench
from harness.session.hidden_places import check_places, close_modes, prepared_folders
from harness.spec.errors import MissingError
from harness.spec.progress import Progress
from harness.spec.run import PUBLIC_HIDDEN

if TYPE_CHECKING:
    from harness.assets.dry_run import Fetch


class Data(Bench):
    """What is done with the cache."""

    def prepare_data(
        self, task: str, profile: str, progress: Progress | None = None, public_hidden: bool = False
    ) -> PreparedTask:
        """Prepare a task's data and base model in the cache; with ``public_hidden`` the hidden items that anybody can make."""
        found = self.task(task)
        wanted = profile_of(found.dojo.profiles, found.id, profile)
        # the small and the doubtful first: nobody wants to fetch a model to hear that the data cannot be had
        prepared = prepare_task(found, profile, self.cache, progress, hidden=PUBLIC_HIDDEN if public_hidden else None)
        prepare_base_model(wanted.base_model, self.cache, progress)
        return prepared

    def secret(self) -> HiddenSecret:
        """Return the secret that this installation draws hidden splits with, making it where there is none.

        Raises:
            MissingError: it is not this user's alone, or no secret.
        """
        return installation_secret(self.cache)

    def set_secret(self, text: str) -> HiddenSecret:
        """Take over the secret of another installation, as that one shows it.

        Raises:
            UsageError: it is none.
        """
        return set_secret(self.cache, text)

    def data(self) -> list[dict[str, Any]]:
        """Return what the cache holds."""
        from harness.assets.catalogue import list_cache

        return list_cache(self.cache)

    def planned_fetches(self, name: str, profile: str) -> list[Fetch]:
        """Return what `prepare_data` would fetch, without fetching anything.

        Raises:
            NotFoundError: no such task, or it has no such profile.
            SpecError: the task does not declare what it fetches.
        """
        from harness.assets.dry_run import planned_fetches

        task = self.task(name)
        return planned_fetches(task, profile, profile_of(task.dojo.profiles, task.id, profile).base_model, self.cache)

    def verify_data(self, name: str | None = None) -> list[Check]:
        """Compare the cache's files (all, or those of one task or model) with their checksums; look at where hidden ones lie.

        Hidden ones that other users may read are closed to them, and named.

        Raises:
            MissingError: the cache holds nothing of that name.
        """
        from harness.assets.catalogue import verify_cache

        found = verify_cache(self.cache, name)
        if not found:
            raise MissingError(f"the cache holds no {name or 'data'}", hint="`dojo data prepare TASK` fills it")
        hidden = [
            check_places(self.hidden_places(), get_backend(self._sandbox)),
            close_modes(self.cache, prepared_folders(self.cache, name)),
        ]
        return hidden + [
            Check(what, not problems, "; ".join(problems[:5]) or "whole", "remove it and run `dojo data prepare` again")
            for what, problems in found
        ]

    def schemas(self) -> dict[str, Any]:
        """Return the JSON schema of everything users write or read, by name; see `all_schemas`."""
        return all_schemas()


def all_schemas() -> dict[str, Any]:
    """Return JSON schemas by name: ``settings`` is that of dojo.toml, ``api`` the agent API's OpenAPI document.

    No setting is read for it, so that whoever mends a broken dojo.toml can look.
    """
    from harness.config import Settings
    from harness.session.operations import openapi
    from harness.spec.schemas import schemas

    return {**schemas(), "settings": Settings.model_json_schema(), "api": openapi()}
