"""What Harbor wants beside a task and what is the same for every one: two Dockerfiles, the verifier's and the oracle's script."""

from __future__ import annotations

import shlex

_ENVIRONMENT = """\
# Harbor's place for an agent. `dojo tasks export` put data/ and model/ beside this file; `dojo images build task` makes the base.
ARG BASE=dojo/task:cpu
FROM ${BASE}

COPY --chown=root:root data /data
COPY --chown=root:root model /models/base
USER agent
WORKDIR /workspace
"""

_VERIFIER = """\
# Harbor's separate verifier: the grader, the hidden items and the base model. Nothing of it is in the agent's image.
# `dojo tasks export` put all that is copied beside this file; `dojo images build grader` makes the base.
ARG BASE=dojo/grader:cpu
FROM ${BASE}

USER root
COPY model /models/base
COPY . /tests/
RUN mkdir -p /logs/verifier /opt/grader && mv /tests/harness /opt/grader/harness && rm -rf /tests/model
ENV PYTHONPATH=/opt/grader
WORKDIR /workspace
"""

_TEST = """\
#!/usr/bin/env bash
# Harbor's verifier: score the submission on the hidden items with the same worker that dojo grades with.
set -euo pipefail
work=$(mktemp -d)
mkdir -p "$work/requests" /logs/verifier
echo '{"op": "score", "path": "/workspace/submission"}' >"$work/requests/1.json"
echo '{"op": "stop"}' >"$work/requests/2.json"
python -m harness.grading.worker --dir "$work" --model /models/base \\
  --items /tests/hidden.jsonl --few-shot /tests/few_shot.jsonl --task /tests/domain/task \\
  --split hidden --primary @METRIC@ --generation "$(cat /tests/generation.json)"
python - "$work/replies/1.json" <<'PYTHON'
import json
import sys

reply = json.load(open(sys.argv[1], encoding="utf-8"))
if not reply["ok"]:
    sys.exit(f"the grader broke: {reply['error']}")
if "verdict" not in reply:
    print("the submission is unusable:", reply["report"]["problems"])
    rewards = {"reward": 0.0}
else:
    scores = reply["verdict"]["scores"]
    rewards = {"reward": scores["primary"]["value"], "parse_rate": scores["parse_rate"]}
json.dump(rewards, open("/logs/verifier/reward.json", "w", encoding="utf-8"))
PYTHON
"""

_SOLVE = """\
#!/usr/bin/env bash
# The oracle of a fine-tuning task is a sensible fixed recipe: the agent `recipe`, with dojo's API played by files (dojo_tool.py).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
DOJO_AGENT_PARAMS=$(cat "$here/params.json")
export DOJO_AGENT_PARAMS
cd /workspace
exec python "$here/recipe.py"
"""


def harbor_files(metric: str) -> dict[str, str]:
    """Return path → text of Harbor's files for a task whose primary metric is ``metric``."""
    return {
        "environment/Dockerfile": _ENVIRONMENT,
        "tests/Dockerfile": _VERIFIER,
        "tests/test.sh": _TEST.replace("@METRIC@", shlex.quote(metric)),
        "solution/solve.sh": _SOLVE,
    }
