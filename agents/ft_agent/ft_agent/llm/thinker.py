"""One thought: a prompt within its limits, an answer read and checked, repaired once in the validator's words, or given up.

Nothing an answer says is done: it comes back as a checked value or not at all. Every call leaves a record in the journal, also
the one that came to nothing, so that a run tells what thinking cost and how often the rules decided instead.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from reading.backbone import Answer, Backbone, NoAnswer

from ft_agent.llm.calls import CALLS, Reply, schema_of
from ft_agent.llm.limits import AROUND, LIMITS, PER_ITERATION, REPAIR_TOKENS, Limit, clipped, tokens_of
from ft_agent.llm.parsing import Unreadable, read_reply
from ft_agent.llm.prompting import FOLDER, TooLong, fill, render, template
from ft_agent.thinking import Thought

# Calls in a row without an answer after which an iteration asks no more; the next one tries again.
MOST_SILENT = 3
# Share of the context left for the answer, where the context is small.
OUTPUT_SHARE = 1 / 3
# Below so many tokens no answer of ours fits.
LEAST_OUTPUT = 300
# A repair is not asked for with less time than this.
REPAIR_S = 2.0


class NotAsked(Exception):
    """A call that is not made; says why."""


@dataclass(frozen=True)
class Read:
    """What a reader makes of a well-formed answer.

    Attributes:
        value: to go on with; None: there is none.
        problems: what to repair; empty: well.
        notes: what was left out of an answer that is used all the same.
    """

    value: Any
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Reader = Callable[[Any], Read]


class Records(Protocol):
    """Where calls are recorded (`journal.Journal`, `history.Chronicle`)."""

    def append(self, kind: str, **data: Any) -> dict[str, Any]:
        """Write one record."""
        ...

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return all records of a kind, oldest first."""
        ...


class Asked(Protocol):
    """What a thinker needs of a backbone (`Backbone`)."""

    context: int
    max_output: int

    def ask(
        self, messages: list[dict[str, str]], *, max_output: int, schema: Mapping[str, Any] | None, timeout_s: float
    ) -> Answer:
        """Ask once."""
        ...


@dataclass
class _Course:
    """How one call goes: what it has cost, and what was wrong so far."""

    call: str
    iteration: int
    begun: float
    input_tokens: int = 0
    output_tokens: int = 0
    why: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Thinker:
    """Asks a backbone typed questions. Safe to use from several threads.

    Args:
        backbone: whom to ask; None: nobody, every call falls back.
        journal: where every call is recorded.
        limits: tokens a call.
        prompts: folder of the templates.
        clock: monotonic seconds; tests give their own.
    """

    def __init__(
        self,
        backbone: Backbone | Asked | None,
        journal: Records,
        limits: Mapping[str, Limit] = LIMITS,
        *,
        prompts: Path = FOLDER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.journal = journal
        self._backbone, self._limits, self._prompts, self._clock = backbone, limits, prompts, clock
        self._one = threading.Lock()
        self._closed = "" if backbone is not None else "the run names no backbone"
        self._silent, self._resting = 0, -1
        # (iteration, group) → tokens; a restarted run goes on from what the journal holds
        self._spent: defaultdict[tuple[int, str], int] = defaultdict(int)
        for record in journal.of("thought"):
            if record.get("call") in limits:
                key = int(record["iteration"]), limits[record["call"]].group
                self._spent[key] += int(record["input_tokens"]) + int(record["output_tokens"])

    @property
    def available(self) -> bool:
        """Whether asking makes sense at all; `why` says why not."""
        return not self._closed

    @property
    def why(self) -> str:
        """Why nothing is asked any more; empty while it is."""
        return self._closed

    def think(self, call: str, facts: Mapping[str, str], *, iteration: int, timeout_s: float, read: Reader | None = None) -> Any:
        """Ask, read, check, repair once.

        Args:
            call: a name of `CALLS`.
            facts: what fills the call's template, slot by slot.
            iteration: number of the iteration it is thought for.
            timeout_s: seconds for all of it.
            read: makes a value of the well-formed answer and says what to repair; without it the answer itself is the value.

        Returns:
            The value, or None where there is none to go on with: the rules decide then.
        """
        course = _Course(call, iteration, self._clock())
        value: Any = None
        try:
            value = self._tried(course, facts, timeout_s, read or Read)
        except (TooLong, NotAsked) as exc:
            course.why.append(str(exc))
        except NoAnswer as exc:
            course.why.append(str(exc))
            self._no_answer(exc, iteration)
        outcome: Literal["good", "repaired", "fell_back"] = "fell_back" if value is None else "repaired" if course.why else "good"
        self._record(course, outcome)
        return value

    def passed(self, call: str, iteration: int, why: str) -> None:
        """Record that a call was not made and the rules decided: there was no time for it, say."""
        self._record(_Course(call, iteration, self._clock(), why=[why]), "fell_back")

    def asking(self, iteration: int, timeout_s: float) -> Callable[[str, Mapping[str, str]], Any]:
        """Return `think` for makers of rows, who know neither iteration nor time."""
        return lambda call, facts: self.think(call, facts, iteration=iteration, timeout_s=timeout_s)

    def _record(self, course: _Course, outcome: Literal["good", "repaired", "fell_back"]) -> None:
        thought = Thought(
            course.call,
            outcome,
            clipped(" | ".join(course.why + course.notes), 200),
            round(self._clock() - course.begun, 2),
            course.input_tokens,
            course.output_tokens,
            course.iteration,
        )
        self.journal.append("thought", **asdict(thought))

    def _tried(self, course: _Course, facts: Mapping[str, str], timeout_s: float, read: Reader) -> Any:
        if self._closed:
            raise NotAsked(self._closed)
        if self._resting == course.iteration:
            raise NotAsked(f"{MOST_SILENT} calls in a row had no answer; the next iteration asks again")
        messages = self._rendered(course.call, facts)
        kept: Any = None
        for last in (False, True):
            left = timeout_s - (self._clock() - course.begun)
            if last and left < REPAIR_S:
                course.why.append("no time for a repair")
                break
            try:
                answer, messages = self._answer(course, facts, messages, left)
            except (NoAnswer, NotAsked) as exc:
                if kept is None:
                    raise
                course.why.append(str(exc))
                break
            found = _read(answer, CALLS[course.call], read)
            course.notes = found.notes
            if not found.problems:
                return found.value
            course.why.append("; ".join(found.problems))
            kept = found.value if found.value is not None else kept
            if not last:
                messages = [*messages, *self._repair(answer, found.problems)]
        return kept

    def _answer(
        self, course: _Course, facts: Mapping[str, str], messages: list[dict[str, str]], timeout_s: float
    ) -> tuple[Answer, list[dict[str, str]]]:
        """Ask; where the refusal taught that the context is smaller than thought, ask once more with what fits it."""
        assert self._backbone is not None
        context = self._backbone.context
        try:
            return self._asked(course, messages, timeout_s), messages
        except NoAnswer:
            if self._backbone.context >= context:
                raise
            messages = self._rendered(course.call, facts)
            return self._asked(course, messages, timeout_s), messages

    def _rendered(self, call: str, facts: Mapping[str, str]) -> list[dict[str, str]]:
        assert self._backbone is not None
        limit = self._limits[call]
        return render(call, facts, limit, min(limit.prompt, self._backbone.context - self._output(limit) - AROUND), self._prompts)

    def _output(self, limit: Limit) -> int:
        assert self._backbone is not None
        return max(LEAST_OUTPUT, min(limit.output, self._backbone.max_output, int(self._backbone.context * OUTPUT_SHARE)))

    def _asked(self, course: _Course, messages: list[dict[str, str]], timeout_s: float) -> Answer:
        assert self._backbone is not None
        limit, key = self._limits[course.call], (course.iteration, self._limits[course.call].group)
        prompt = sum(tokens_of(message["content"]) for message in messages)
        output = max(LEAST_OUTPUT, min(self._output(limit), self._backbone.context - prompt - AROUND))
        with self._one:
            if self._spent[key] + prompt + output > PER_ITERATION[limit.group]:
                raise NotAsked(f"iteration {course.iteration} has used its {PER_ITERATION[limit.group]} tokens for {limit.group}")
            self._spent[key] += prompt + output
        used = 0
        try:
            answer = self._backbone.ask(messages, max_output=output, schema=schema_of(course.call), timeout_s=max(0.1, timeout_s))
            # a backbone that reports nothing is counted as we count
            used = (answer.input_tokens or prompt) + (answer.output_tokens or tokens_of(answer.text))
            course.input_tokens += answer.input_tokens
            course.output_tokens += answer.output_tokens
            self._silent = 0
            return answer
        except NoAnswer as exc:
            # what was sent and not answered may have been read all the same
            used = prompt if exc.kind in ("late", "broken") else 0
            raise
        finally:
            with self._one:
                self._spent[key] += used - prompt - output

    def _repair(self, answer: Answer, problems: list[str]) -> list[dict[str, str]]:
        words = clipped("\n".join(f"- {problem}" for problem in problems), REPAIR_TOKENS // 3)
        said = clipped(answer.text, REPAIR_TOKENS // 2) or "(nothing)"
        asked = fill(template("repair", self._prompts), {"problems": words})
        return [{"role": "assistant", "content": said}, {"role": "user", "content": asked}]

    def _no_answer(self, failure: NoAnswer, iteration: int) -> None:
        if failure.final:
            self._closed = str(failure)
        elif failure.kind != "refused":
            self._silent += 1
            if self._silent >= MOST_SILENT:
                self._resting = iteration


def _read(answer: Answer, model: type[Reply], read: Reader) -> Read:
    try:
        return read(read_reply(answer.text, model))
    except Unreadable as exc:
        if answer.stop == "length":
            return Read(None, ["the answer was cut off because it was too long; give a shorter one", *exc.problems])
        return Read(None, exc.problems)
