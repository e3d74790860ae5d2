#!/usr/bin/env bash
# Harbor's verifier: score the submission on the hidden items with the same worker that dojo grades with.
set -euo pipefail
work=$(mktemp -d)
mkdir -p "$work/requests" /logs/verifier
echo '{"op": "score", "path": "/workspace/submission"}' >"$work/requests/1.json"
echo '{"op": "stop"}' >"$work/requests/2.json"
python -m harness.grading.worker --dir "$work" --model /models/base --items /tests/hidden.jsonl --few-shot /tests/few_shot.jsonl \
  --task / --split hidden --primary rouge_l --generation "$(cat /tests/generation.json)"
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
