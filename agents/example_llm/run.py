"""A whole LLM agent: ask the model, run the commands it wants, show it what they print, until it is done."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import dojo_tool
from general.prompt import prompt

PARAMS = json.loads(os.environ["DOJO_AGENT_PARAMS"])
LOG = Path("agent-log/messages.jsonl")
PATIENCE_S = 900  # the gateway may be restarted under a running agent
COMMAND = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
BASH = {"type": "function", "function": {"name": "bash", "description": "Run a command in bash.", "parameters": COMMAND}}
NO_COMMAND = "No command was run. Call bash, or answer with the one word DONE when your best model is handed in."


def ask(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Send the conversation so far; return the model's message."""
    body = json.dumps({"model": os.environ["LLM_MODEL"], "messages": messages, "tools": [BASH]}).encode()
    headers = {"Authorization": f"Bearer {os.environ['LLM_API_KEY']}", "Content-Type": "application/json"}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        request = urllib.request.Request(f"{os.environ['LLM_BASE_URL']}/chat/completions", body, headers)
        try:
            with urllib.request.urlopen(request) as response:
                message: dict[str, Any] = json.load(response)["choices"][0]["message"]
                return message
        except urllib.error.HTTPError as exc:  # the gateway has already tried again: the budget is spent, or the call is wrong
            said = exc.read().decode(errors="replace")
            print(f"the backbone refuses: {exc.code} {said[:500]}")
            raise SystemExit(0 if "budget_exceeded" in said else 1) from exc
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(2)


def run(arguments: str) -> str:
    """Run the command of a tool call; return how it ended and what it printed, the middle of much left out."""
    try:
        command = json.loads(arguments)["command"]
        done = subprocess.run(
            ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PARAMS["command_timeout_s"]
        )
        code, text = str(done.returncode), done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as exc:
        code, text = f"none: cut off after {exc.timeout:g} s", (exc.stdout or b"").decode(errors="replace")
    except (ValueError, KeyError, TypeError) as exc:
        return f"the arguments are no JSON with a command: {exc!r}"
    half = PARAMS["output_chars"] // 2
    return f"exit code {code}\n" + (text if len(text) <= 2 * half else f"{text[:half]}\n[…]\n{text[-half:]}")


def main() -> None:
    """Work until the model says that it is done."""
    api = dojo_tool.Client()
    messages: list[dict[str, Any]] = []
    LOG.parent.mkdir(exist_ok=True)

    def add(message: dict[str, Any]) -> None:
        messages.append(message)
        with LOG.open("a", encoding="utf-8") as log:
            log.write(json.dumps(message) + "\n")

    add({"role": "user", "content": prompt(api.task(), api.budget())})
    idle = 0
    while idle < 3:
        said = ask(messages)
        add(said)
        calls = said.get("tool_calls") or []
        for call in calls:
            add({"role": "tool", "tool_call_id": call["id"], "content": run(call["function"]["arguments"])})
        if calls:
            idle = 0
            continue
        if (said.get("content") or "").strip(" .!\n").upper() == "DONE":
            break
        idle += 1
        add({"role": "user", "content": NO_COMMAND})


if __name__ == "__main__":
    main()
