"""Arguments of operations that make rows: numbers within what makes sense, refused with their name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ft_agent.data import RecipeError


def number(operation: str, args: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """Return a numeric argument.

    Raises:
        RecipeError: it is no number, or out of bounds.
    """
    value = args.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RecipeError(f"{operation}: {name} = {value!r} is no number from {low:g} to {high:g}")
    return float(value)


def whole(operation: str, args: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """Return an integer argument.

    Raises:
        RecipeError: it is no integer, or out of bounds.
    """
    value = number(operation, args, name, default, low, high)
    if value != int(value):
        raise RecipeError(f"{operation}: {name} = {args[name]!r} must be a whole number")
    return int(value)
