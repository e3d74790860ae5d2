"""Answers by hand: questions and answers as files."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.gateway.dialogue import Reply, Text
from harness.gateway.upstreams import manual
from harness.gateway.upstreams.asking import ask, small_call
from harness.gateway.upstreams.base import UpstreamFailed
from harness.gateway.upstreams.manual import ManualUpstream, Question, answer_question, questions
from harness.gateway.upstreams.script import ScriptedReply
from harness.spec.errors import NotFoundError


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manual, "_LOOK_S", 0.001)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0)


def asking(folder: Path, number: int, timeout_s: float = 30, upstream: ManualUpstream | None = None) -> Awaitable[Reply]:
    call = replace(small_call("chat", "m", text="What now?"), number=number)
    return asyncio.create_task(ask(upstream or ManualUpstream(folder, timeout_s), call))


def test_a_question_appears_and_its_answer_is_given(tmp_path: Path) -> None:
    async def talk() -> Reply:
        asked = asking(tmp_path, 7)
        await until(lambda: questions(tmp_path))
        (question,) = questions(tmp_path)
        assert (question.call, question.format, question.max_output, question.error) == (7, "chat", 16, "")
        assert question.messages == ({"role": "user", "text": "What now?"},)
        answer_question(tmp_path, 7, ScriptedReply(text="Rest."))
        return await asked

    assert asyncio.run(talk()).parts == (Text("Rest."),)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_bad_answer_is_told_beside_its_question_until_a_good_one_comes(tmp_path: Path) -> None:
    async def talk() -> Reply:
        asked = asking(tmp_path, 1)
        await until(lambda: questions(tmp_path))
        (tmp_path / "answers" / "1.json").write_text('{"txt": "Rest."}')

        def told() -> tuple[Question, ...]:
            return tuple(question for question in questions(tmp_path) if question.error)

        await until(told)
        assert "txt" in told()[0].error
        answer_question(tmp_path, 1, ScriptedReply(text="Rest."))
        assert not (tmp_path / "answers" / "1.error").exists()
        return await asked

    assert asyncio.run(talk()).parts == (Text("Rest."),)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_answer_may_be_an_error(tmp_path: Path) -> None:
    async def talk() -> None:
        asked = asking(tmp_path, 1)
        await until(lambda: questions(tmp_path))
        answer_question(tmp_path, 1, ScriptedReply(text="too much", status=429))
        await asked

    with pytest.raises(UpstreamFailed, match="too much") as caught:
        asyncio.run(talk())
    assert caught.value.kind == "busy"


def test_a_question_that_nobody_answers_is_given_up_and_gone(tmp_path: Path) -> None:
    async def talk() -> None:
        await asking(tmp_path, 1, timeout_s=0.01)

    with pytest.raises(UpstreamFailed, match="nobody answered within") as caught:
        asyncio.run(talk())
    assert (caught.value.kind, caught.value.status, questions(tmp_path)) == ("broken", 504, ())
    with pytest.raises(NotFoundError, match="call 1 does not wait"):
        answer_question(tmp_path, 1, ScriptedReply(text="late"))


def test_questions_are_listed_by_number_and_those_of_a_dead_harness_are_gone(tmp_path: Path) -> None:
    for path in (tmp_path / "pending" / "3.json", tmp_path / "answers" / "3.error"):
        path.parent.mkdir()
        path.write_text("{}")

    async def talk() -> list[int]:
        open = ManualUpstream(tmp_path, 30)
        asked = [asking(tmp_path, number, upstream=open) for number in (10, 9, 2)]
        await until(lambda: len(questions(tmp_path)) == 3)
        numbers = [question.call for question in questions(tmp_path)]
        for number in numbers:
            answer_question(tmp_path, number, ScriptedReply(text="Rest."))
        await asyncio.gather(*asked)
        return numbers

    assert asyncio.run(talk()) == [2, 9, 10]
