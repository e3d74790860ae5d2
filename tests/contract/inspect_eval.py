"""A whole evaluation of Inspect in a dojo sandbox: found by its entry point, a sample's files, setup, a tool call, a score.

Run in Inspect's venv with the backend and a folder for Inspect's log (`test_inspect_self_check.py` does); prints one JSON line.
"""

import json
import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import solver
from inspect_ai.tool import bash
from inspect_ai.util import SandboxEnvironmentSpec, sandbox

COMMAND = "id -un; sha256sum seed.txt | cut -c1-8 > digest.txt"
DIGEST_OF_ABC = "ba7816bf"


@solver
def one_tool_call():
    async def solve(state, generate):
        state.metadata["printed"] = await bash(timeout=60)(COMMAND)
        return state

    return solve


@scorer(metrics=[accuracy()])
def digest():
    async def score(state, target):
        found = await sandbox().read_file("digest.txt")
        return Score(value=1.0 if found.strip() == target.text else 0.0)

    return score


def main(backend: str, logs: str) -> None:
    # the name alone: Inspect itself has to find the provider, as in a user's task
    task = Task(
        dataset=[Sample(input="-", target=DIGEST_OF_ABC, files={"seed.txt": "abc"}, setup="#!/bin/sh\necho made > setup.txt\n")],
        solver=one_tool_call(),
        scorer=digest(),
        sandbox=SandboxEnvironmentSpec("dojo", backend),
    )
    log = eval(task, model="mockllm/model", log_dir=logs, display="none")[0]
    found = {"status": log.status, "error": log.error.message if log.error else None}
    if log.status == "success":
        found |= {
            "accuracy": log.results.scores[0].metrics["accuracy"].value,
            "printed": log.samples[0].metadata["printed"].strip(),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
