"""OpenHands on this task, headless: its own loop, tools and prompts; ours are the task, the backbone and where it logs."""

import json
import os
import sys
from pathlib import Path

LOG = Path("/workspace/agent-log")
# read when the packages are imported: nothing is looked up on a network or printed as a banner
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", OPENHANDS_SUPPRESS_BANNER="1")

import dojo_tool  # noqa: E402
from general.prompt import prompt  # noqa: E402
from openhands.sdk import LLM, Agent, Conversation, LLMSummarizingCondenser, Tool  # noqa: E402
from openhands.sdk.conversation.exceptions import ConversationRunError  # noqa: E402
from openhands.tools.file_editor import FileEditorTool  # noqa: E402
from openhands.tools.task_tracker import TaskTrackerTool  # noqa: E402
from openhands.tools.terminal import TerminalTool  # noqa: E402

PARAMS = json.loads(os.environ["DOJO_AGENT_PARAMS"])


def main() -> int:
    """Run it to its end; its events are written as they happen."""
    LOG.mkdir(parents=True, exist_ok=True)
    api = dojo_tool.Client()
    limits = {"max_input_tokens": "DOJO_LLM_CONTEXT", "max_output_tokens": "DOJO_LLM_MAX_OUTPUT"}
    llm = LLM(
        model=f"openai/{os.environ['LLM_MODEL']}",
        base_url=os.environ["LLM_BASE_URL"],
        api_key=os.environ["LLM_API_KEY"],
        usage_id="agent",
        timeout=600,
        **{name: int(os.environ[variable]) for name, variable in limits.items() if variable in os.environ},
    )
    terminal = Tool(name=TerminalTool.name, params={"terminal_type": "subprocess"})  # tmux is not everywhere
    agent = Agent(
        llm=llm,
        tools=[terminal, Tool(name=FileEditorTool.name), Tool(name=TaskTrackerTool.name)],
        system_prompt_kwargs={"cli_mode": True},
        condenser=LLMSummarizingCondenser(llm=llm.model_copy(update={"usage_id": "condenser"}), max_size=80, keep_first=4),
    )
    conversation = Conversation(
        agent,
        workspace="/workspace",
        persistence_dir=LOG,
        max_iteration_per_run=PARAMS["steps"],
        delete_on_close=False,
    )
    conversation.send_message(prompt(api.task(), api.budget()))
    spent = False
    try:
        conversation.run()
        ended = conversation.state.execution_status.value
    except ConversationRunError as exc:
        ended = str(exc.original_exception)
        # the gateway waits for a busy provider itself: what it passes on is a budget that is spent
        spent = type(exc.original_exception).__name__.endswith("RateLimitError")
    finally:
        conversation.close()
    print(f"OpenHands: {ended}")
    return 0 if spent or ended == "finished" else 1


if __name__ == "__main__":
    sys.exit(main())
