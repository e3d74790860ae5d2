"""mini-swe-agent on this task: its own loop, tool and settings; ours are the prompt, the backbone and where it logs."""

import json
import os
from pathlib import Path

LOG = Path("/workspace/agent-log")
# read when the packages are imported: nothing is looked up on a network, written at home or printed as a banner
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LITELLM_MODE="PRODUCTION",
    MSWEA_SILENT_STARTUP="1",
    MSWEA_GLOBAL_CONFIG_DIR=str(LOG / "config"),
    MSWEA_COST_TRACKING="ignore_errors",  # the gateway counts
)

import dojo_tool  # noqa: E402
import litellm  # noqa: E402
import yaml  # noqa: E402
from general.prompt import prompt  # noqa: E402
from minisweagent import package_dir  # noqa: E402
from minisweagent.agents.default import DefaultAgent  # noqa: E402
from minisweagent.environments.local import LocalEnvironment  # noqa: E402
from minisweagent.models.litellm_model import LitellmModel  # noqa: E402

PARAMS = json.loads(os.environ["DOJO_AGENT_PARAMS"])
HOW = """{{task}}

## How to work

Every answer calls the `bash` tool at least once, with a few words before it on what you want to find out. Each command runs in
a new shell: neither the directory nor variables last. A command is cut off after {{timeout}} seconds. When your best model is
handed in, end with the command `echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT` and nothing else; after it you cannot go on."""


def main() -> None:
    """Run it to its end; its trajectory is written after every step."""
    LOG.mkdir(parents=True, exist_ok=True)
    api = dojo_tool.Client()
    own = yaml.safe_load((package_dir / "config" / "mini.yaml").read_text(encoding="utf-8"))
    model = LitellmModel(
        model_name=f"openai/{os.environ['LLM_MODEL']}",
        model_kwargs={"api_base": os.environ["LLM_BASE_URL"], "api_key": os.environ["LLM_API_KEY"], "drop_params": True},
        **{name: own["model"][name] for name in ("observation_template", "format_error_template")},
    )
    litellm.suppress_debug_info = True
    # the gateway waits for a busy provider itself: what it passes on is a budget that is spent
    model.abort_exceptions = [*model.abort_exceptions, litellm.exceptions.RateLimitError]
    agent = DefaultAgent(
        model,
        LocalEnvironment(cwd="/workspace", env=own["environment"]["env"], timeout=PARAMS["command_timeout_s"]),
        system_template=own["agent"]["system_template"],
        instance_template=HOW,
        step_limit=PARAMS["steps"],
        cost_limit=0,
        output_path=LOG / "trajectory.json",
    )
    try:
        ended = agent.run(prompt(api.task(), api.budget())).get("exit_status") or "ended"
    except litellm.exceptions.RateLimitError as exc:
        ended = str(exc)
    print(f"mini-swe-agent: {ended} after {agent.n_calls} calls")


if __name__ == "__main__":
    main()
