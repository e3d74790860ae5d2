"""Agents as they stand in a batch: once for each set of parameters, told apart from each other by what differs."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.assets.agent_dir import Agent
from harness.spec.agent import AgentConfig
from harness.spec.backbone import BackboneRef
from harness.spec.errors import UsageError
from harness.spec.toml import describe, did_you_mean

# A value longer than this is named by its digest: names stand in the tables of an 80-column terminal.
_LONGEST_VALUE = 32
# An agent's name and this together fit the index's column of 200.
_LONGEST = 120
_PLAIN = re.compile(r"[\w.,+:/=-]+")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Contender:
    """An agent with the parameters it has in a batch.

    Attributes:
        called: what it was called at submit.
        agent: its directory.
        config: with its parameters laid over those of its ``agent.toml``.
        words: what tells it apart from the agent as it comes, as ``feedback=false``; "" for that one.
    """

    called: str
    agent: Agent
    config: AgentConfig
    words: str = ""

    @property
    def shown(self) -> str:
        """Its name with what tells it apart."""
        return f"{self.agent.name} {self.words}".strip()


def contender(called: str, agent: Agent, params: Mapping[str, Any] | None = None, label: str = "") -> Contender:
    """Return an agent with ``params`` over its own; ``label`` names it instead of what differs.

    Raises:
        UsageError: it has no such parameter, or the value is of another kind.
    """
    config = with_params(agent.config, params or {})
    label = label.removeprefix(f"{agent.name} ") if label != agent.name else ""
    return Contender(called, agent, config, label or words_of(_changed(agent.config.params, config.params)))


def with_params(config: AgentConfig, given: Mapping[str, Any]) -> AgentConfig:
    """Return the configuration with ``given`` over its parameters; texts are read as what the default is.

    Raises:
        UsageError: there is no such parameter, or the value is of another kind.
    """
    changed: dict[str, object] = {}
    for name, value in given.items():
        if name not in config.params:
            raise UsageError(
                f"agent {config.name} has no parameter {name!r}",
                hint=did_you_mean(name, sorted(config.params)) or f"the agent.toml of {config.name} has no [params]",
            )
        changed[name] = _read(name, value, config.params[name])
        if name in config.choices and changed[name] not in config.choices[name]:
            known = [str(choice) for choice in config.choices[name]]
            near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
            raise UsageError(
                f"agent {config.name} has no {name}={value!r}; there are {', '.join(known)}",
                hint=f"did you mean {near[0]}?" if near else f"name one of them: {name}={known[0]}",
            )
    try:
        return AgentConfig.model_validate({**config.model_dump(), "params": {**config.params, **changed}})
    except ValidationError as exc:
        raise UsageError(describe(exc), hint=f"see the agent.toml of {config.name}") from exc


def words_of(named: Mapping[str, Any]) -> str:
    """Return what tells a variant apart in one line: ``feedback=false data_cap=200``."""
    words = " ".join(f"{name}={_shown(value)}" for name, value in named.items())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…#{_digest(words)}"


def budget_words(budgets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each budget of a batch the limits in which it differs from the others; nothing for a single one."""
    names = dict.fromkeys(name for budget in budgets for name in budget)
    told = [name for name in names if len({str(budget.get(name)) for budget in budgets}) > 1]
    return [{name: budget[name] for name in told if name in budget} for budget in budgets]


def model_word(name: str) -> str:
    """Return a base model's name; of a directory its last part."""
    return Path(name).name if "/" in name else name


def backbone_word(backbone: BackboneRef) -> str:
    """Return a backbone's name; of a file of replies the file's."""
    kind, colon, rest = backbone.name.partition(":")
    return f"{kind}:{Path(rest).name}" if kind == "scripted" and colon else backbone.name


def _changed(defaults: Mapping[str, object], now: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in now.items() if value != defaults[name] or type(value) is not type(defaults[name])}


def _read(name: str, value: Any, default: object) -> object:
    """Return a value as what the default is."""
    kind = type(default)
    if kind is bool and isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
        return value.lower() in _TRUE
    alike = isinstance(value, kind) and isinstance(value, bool) is (kind is bool)
    if alike or (kind is float and isinstance(value, int) and not isinstance(value, bool)):
        return kind(value)  # type: ignore[call-arg]
    if isinstance(value, str) and kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    raise UsageError(
        f"parameter {name}={value!r} is no {kind.__name__}", hint=f"give one, as the default is: {name}={json.dumps(default)}"
    )


def _shown(value: object) -> str:
    """Return a value as one word."""
    text = str(value).lower() if isinstance(value, bool) else str(value) or '""'
    return text if text == '""' or (_PLAIN.fullmatch(text) and len(text) <= _LONGEST_VALUE) else f"#{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
