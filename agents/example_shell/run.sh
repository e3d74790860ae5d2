#!/bin/sh
# A whole run with nothing but the dojo-tool command and one short Python program.
set -eu
dojo-tool task > task.json
dojo-tool budget
dojo-tool note "example_shell: train on the few-shot examples, then hand in"
mkdir -p base && printf '{"dojo": "base"}' > base/dojo.json
dojo-tool submit "$PWD/base" --note "a valid submission first"
python /agent/train.py /data/few_shot.jsonl adapter
dojo-tool validate "$PWD/adapter"
if dojo-tool evaluate "$PWD/adapter" --note "trained on the examples" > feedback.json; then
    python -c 'import json; print("dev:", json.load(open("feedback.json"))["primary"])'
fi
dojo-tool submit "$PWD/adapter" --note "LoRA on the few-shot examples"
