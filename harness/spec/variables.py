"""Settings that are environment variables, read into a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from harness.spec.base import Spec
from harness.spec.errors import UsageError

S = TypeVar("S", bound=Spec)


def read(model: type[S], prefix: str, environment: Mapping[str, str]) -> S:
    """Read settings, each from the variable called ``prefix`` and its name in capitals; an empty one is as none.

    Raises:
        UsageError: one has a value that it cannot have; names it.
    """
    given = {name: value for name in model.model_fields if (value := environment.get(prefix + name.upper(), ""))}
    try:
        return model.model_validate(given, strict=False)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = str(first["loc"][0])
        meant = model.model_fields[name].description or ""
        raise UsageError(f"{prefix}{name.upper()}={given[name]!r}: {first['msg']}", hint=meant) from exc
