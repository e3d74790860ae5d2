#!/usr/bin/env bash
# Agents fine-tune the small base model on one mini task, are graded, ranked and compared. Arguments go to `dojo submit`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dojo=.venv/bin/dojo
task=${TASK:-math/aime25}
profile=${PROFILE:-mini}
read -r -a agents <<<"${AGENTS:-base recipe ft_agent}"

submit=(submit --task "$task" --profile "$profile" --public-hidden)
for agent in "${agents[@]}"; do submit+=(--agent "$agent"); done
if [ -n "${SANDBOX:-}" ]; then submit+=(--sandbox "$SANDBOX"); fi
submit+=("$@")

echo "\$ dojo ${submit[*]}"
"$dojo" "${submit[@]}"

first=${agents[0]}
last=${agents[${#agents[@]} - 1]}
if [ "$first" != "$last" ]; then
  printf '\n$ dojo compare %s %s --task %s --batch @last\n' "$last" "$first" "$task"
  "$dojo" compare "$last" "$first" --task "$task" --batch @last
fi

cat <<TXT

Where to look (DOJO_HOME is ${DOJO_HOME:-./results}):
  $dojo status                  what ran
  $dojo show @last              everything about the newest run
  $dojo logs @last              its events
  ${DOJO_HOME:-results}/batches/    one folder a run; results/README.md says what is in it
TXT
