"""Base models that runs can name: dojo's own and those that users add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.sandbox.base import Check
from harness.service.bench import Bench
from harness.spec.progress import Progress

if TYPE_CHECKING:
    from harness.assets.added_models import ListedModel
    from harness.assets.base_models import BaseModel


class Models(Bench):
    """What is done with base models."""

    def models(self) -> list[ListedModel]:
        """Return every base model that runs can name, in the cache or still to be fetched."""
        from harness.assets.added_models import list_models

        return list_models(self.cache)

    def add_model(
        self, source: str, *, name: str = "", revision: str = "", licence: str = "", progress: Progress | None = None
    ) -> BaseModel:
        """Put a model of the hub, or of a folder, into the cache, where runs find it by its name.

        Args:
            source: ``org/name`` of the hub, a folder, or the name of one of dojo's own base models.
            name: what runs shall call it; default: the last part of ``source``, in small letters.
            revision: the commit of a hub id; default: the hub's today.
            licence: of the weights; default: what the hub or the folder's README.md says.
            progress: told what takes long.

        Raises:
            UsageError: a name that is taken, a revision that is no commit, a licence that nobody knows.
            SpecError: it is no whole model, has pickled weights alone, or needs code of its author's.
            MissingError: the hub does not answer, or there is no such folder.
        """
        from harness.assets.added_models import add_model

        return add_model(source, self.cache, name=name, revision=revision, licence=licence, progress=progress)

    def verify_models(self, name: str | None = None) -> list[Check]:
        """Compare base models in the cache (all, or one) with their checksums, file by file.

        Raises:
            MissingError: none is there, or none of this name.
        """
        from harness.assets.added_models import verify_models

        remedy = "remove its folder and add it again"
        return [
            Check(model, not problems, "; ".join(problems[:5]) or "whole", remedy)
            for model, problems in verify_models(self.cache, name)
        ]
