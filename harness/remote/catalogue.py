"""What can be named at a service: its tasks, agents, backbones and base models."""

from __future__ import annotations

from typing import Any

from harness.assets.added_models import ListedModel
from harness.remote.client import Client
from harness.service.backbones import ListedBackbone
from harness.service.catalogue import ListedAgents, ListedTasks
from harness.spec.broken import Broken


class RemoteCatalogue:
    """The lists of a service. What is broken there is its operator's matter, and not told."""

    client: Client

    def list_tasks(self) -> ListedTasks:
        """See `Dojo.list_tasks`."""
        return ListedTasks.model_validate(self.client.ask("GET", "/v1/tasks"))

    def describe_task(self, task: str) -> dict[str, Any]:
        """See `Dojo.describe_task`; a name alone will do, no path."""
        return dict(self.client.ask("GET", "/v1/task", params={"id": task}))

    def list_agents(self) -> ListedAgents:
        """See `Dojo.list_agents`; agents of this machine are named by their directory and uploaded."""
        return ListedAgents.model_validate(self.client.ask("GET", "/v1/agents"))

    def backbones(self) -> tuple[ListedBackbone, ...]:
        """See `Dojo.backbones`."""
        return tuple(map(ListedBackbone.model_validate, self.client.ask("GET", "/v1/backbones")))

    def broken_backbones(self) -> tuple[Broken, ...]:
        """Not told by a service."""
        return ()

    def models(self) -> list[ListedModel]:
        """See `Dojo.models`."""
        return list(map(ListedModel.model_validate, self.client.ask("GET", "/v1/models")))
