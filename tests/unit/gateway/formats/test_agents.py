"""Bodies as well-known agents send them: every one can be answered by an upstream of every format."""

import pytest

from harness.gateway.dialogue import Text, Thinking, ToolCall, ToolResult
from harness.gateway.formats import FORMATS

SHELL = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}},
    "required": ["command"],
    "additionalProperties": False,
}
CACHED = {"cache_control": {"type": "ephemeral"}}

CLAUDE_CODE = {
    "model": "claude-opus-5-5",
    "max_tokens": 32000,
    "stream": True,
    "metadata": {"user_id": "user_1_account__session_2"},
    "system": [
        {"type": "text", "text": "You are Claude Code.", **CACHED},
        {"type": "text", "text": "Here is the environment.", **CACHED},
    ],
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "tools": [{"name": "Bash", "description": "Runs a command.", "input_schema": SHELL, "eager_input_streaming": True}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>today</system-reminder>"},
                {"type": "text", "text": "train it", **CACHED},
            ],
        },
        {"role": "system", "content": "Available agent types for the Agent tool: none"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "first look", "signature": "c2ln"},
                {"type": "text", "text": "I look around."},
                {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}, "caller": {"type": "direct"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "data", "is_error": False, **CACHED}],
        },
    ],
}
CODEX = {
    "model": "gpt-6-codex",
    "instructions": "You are Codex.",
    "input": [
        {"type": "message", "id": "msg_1", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "train it"}]},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "first look"}],
            "content": None,
            "encrypted_content": "c2ln",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I look around."}],
            "phase": "commentary",
        },
        {"type": "function_call", "name": "exec_command", "arguments": '{"cmd":"ls"}', "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "data"},
        {
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": "call_2",
            "name": "apply_patch",
            "input": "*** Begin Patch",
        },
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Success"},
    ],
    "tools": [
        {"type": "function", "name": "exec_command", "description": "Runs.", "strict": False, "parameters": SHELL},
        {
            "type": "custom",
            "name": "apply_patch",
            "description": "Edits files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch"},
        },
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0199",
    "client_metadata": {"x-codex-installation-id": "1"},
}
GEMINI_CLI = {
    "model": "gemini-4-pro",
    "stream": True,
    "contents": [
        {"role": "user", "parts": [{"text": "This is the Gemini CLI."}]},
        {"role": "user", "parts": [{"text": "train it"}]},
        {
            "role": "model",
            "parts": [
                {"text": "first look", "thought": True},
                {"text": "I look around."},
                {
                    "functionCall": {"name": "run_shell_command", "args": {"command": "ls"}, "id": "run_shell_command_1"},
                    "thoughtSignature": "c2ln",
                },
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "run_shell_command_1",
                        "name": "run_shell_command",
                        "response": {"output": "data"},
                    }
                }
            ],
        },
    ],
    "systemInstruction": {"role": "user", "parts": [{"text": "You are an agent."}]},
    "tools": [
        {"functionDeclarations": [{"name": "run_shell_command", "description": "Runs.", "parametersJsonSchema": SHELL}]},
    ],
    "generationConfig": {
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"},
    },
}
OPENHANDS = {
    "model": "openai/a-model",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "You are OpenHands agent.", **CACHED}]},
        {"role": "user", "content": [{"type": "text", "text": "train it", **CACHED}]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "I look around."}],
            "reasoning_content": "first look",
            "function_call": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "terminal", "arguments": '{"command": "ls"}'},
                    "index": 0,
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "name": "terminal", "content": [{"type": "text", "text": "data"}], **CACHED},
    ],
    "tools": [
        {"type": "function", "function": {"name": "terminal", "description": "Runs.", "parameters": SHELL, "strict": False}}
    ],
    "tool_choice": "auto",
    "temperature": 0.0,
    "top_p": 1.0,
    "max_completion_tokens": 4096,
    "seed": None,
    "metadata": {"trace": "1"},
    "stream": False,
}
AGENTS = {
    "claude_code": ("messages", CLAUDE_CODE),
    "codex": ("responses", CODEX),
    "gemini_cli": ("google", GEMINI_CLI),
    "openhands": ("chat", OPENHANDS),
}


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_can_think_with_every_upstream(agent, to):
    of, body = AGENTS[agent]
    ask = FORMATS[of].parse(body)
    said = FORMATS[to].render(ask)
    again = FORMATS[to].parse(said | {"model": ask.model, "stream": ask.stream})
    texts = [part.text for message in again.messages for part in message.parts if isinstance(part, Text)]
    assert [text for text in texts if text in ("train it", "I look around.")] == ["train it", "I look around."]
    call = next(part for message in again.messages for part in message.parts if isinstance(part, ToolCall))
    results = [part for message in again.messages for part in message.parts if isinstance(part, ToolResult)]
    assert results[0].id == call.id
    assert results[0].parts == (Text("data"),)
    assert "ls" in call.arguments
    assert {tool.name for tool in again.tools} == {tool.name for tool in ask.tools}
    assert again.max_output == ask.max_output or (to == "messages" and ask.max_output is None)


@pytest.mark.parametrize("agent", AGENTS)
def test_what_an_agent_thought_is_read(agent):
    of, body = AGENTS[agent]
    thoughts = [part for message in FORMATS[of].parse(body).messages for part in message.parts if isinstance(part, Thinking)]
    assert [thought.text for thought in thoughts] == ["first look"]


def test_what_is_left_out_of_claude_codes_calls_is_listed():
    dropped = FORMATS["messages"].parse(CLAUDE_CODE).dropped
    assert {"metadata", "context_management", "system[0].cache_control", "tools[0].eager_input_streaming"} <= set(dropped)


def test_claude_codes_effort_reaches_other_providers():
    ask = FORMATS["messages"].parse(CLAUDE_CODE)
    assert FORMATS["chat"].render(ask)["reasoning_effort"] == "high"
    budget = FORMATS["messages"].parse(
        CLAUDE_CODE | {"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": None}
    )
    assert FORMATS["chat"].render(budget)["reasoning_effort"] == "low"
    assert FORMATS["google"].render(budget)["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 1024}
