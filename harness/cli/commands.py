"""All commands of ``dojo`` with their one-line helps. A command's module is imported when it is called."""

from __future__ import annotations

ROOT = {
    "submit": ("harness.cli.submit:submit", "Run agents on tasks and end with the leaderboard."),
    "run": ("harness.cli.run:run", "Drive one recorded run in this process (what a cluster job executes)."),
    "status": ("harness.cli.status:status", "Show what runs, how far it is and why it waits."),
    "runs": ("harness.cli.runs:runs", "Find runs by task, agent, state, tag or age."),
    "batches": ("harness.cli.runs:batches", "Find batches."),
    "logs": ("harness.cli.logs:logs", "Show a run's events and output, live if asked."),
    "show": ("harness.cli.show:show", "Show the whole result of a run."),
    "items": ("harness.cli.items:items", "Show what a run answered, or where two runs differ."),
    "files": ("harness.cli.files:files", "List, print and take out what a run's agent left."),
    "shell": ("harness.cli.shell:shell", "Open a person's shell in a live run."),
    "export": ("harness.cli.export:export", "Write a run out: its trajectory, or an agent that does it again."),
    "resume": ("harness.cli.resume:resume", "Go on with a batch after a stop or a crash."),
    "cancel": ("harness.cli.cancel:cancel", "End a run or a batch for good."),
    "artefacts": ("harness.cli.artefacts:artefacts", "Keep runs that have ended in an object store, and bring them back."),
    "gc": ("harness.cli.gc:gc", "Remove what dead harness processes left behind."),
    "grade": ("harness.cli.grade:grade", "Score a run's sealed submission."),
    "leaderboard": ("harness.cli.leaderboard:leaderboard", "Rank agents, with intervals and yardsticks."),
    "compare": ("harness.cli.compare:compare", "Say whether one agent is better than another."),
    "report": ("harness.cli.report:report", "Write a batch's report and plots."),
    "tag": ("harness.cli.tag:tag", "Put tags on runs and batches."),
    "exclude": ("harness.cli.exclude:exclude", "Leave a run out of comparisons; it stays."),
    "include": ("harness.cli.exclude:include", "Take a run into comparisons again."),
    "rm": ("harness.cli.rm:rm", "Delete runs and batches for good."),
    "reindex": ("harness.cli.reindex:reindex", "Rebuild the database from the run folders."),
    "tasks": ("harness.cli.tasks:tasks", "List, show, check and score with tasks."),
    "agents": ("harness.cli.agents:agents", "List, check and start agents."),
    "backbones": ("harness.cli.backbones:backbones", "List and check the language models agents think with."),
    "backbone": ("harness.cli.backbone:backbone", "Answer a run's calls by hand."),
    "gateway": ("harness.cli.gateway:gateway", "One gateway between many runs and their providers."),
    "models": ("harness.cli.models:models", "List, add and verify base models."),
    "data": ("harness.cli.data:data", "List, prepare and verify the tasks' data."),
    "images": ("harness.cli.images:images", "List, build and verify images for the Docker backend."),
    "cluster": ("harness.cli.cluster:cluster", "Put dojo into a Kubernetes cluster, check it, take it away."),
    "config": ("harness.cli.config:config", "Show settings and where they come from."),
    "schema": ("harness.cli.schema:schema", "Print the JSON schemas of files and results."),
    "doctor": ("harness.cli.doctor:doctor", "Check this machine: each check is ok or says what to do."),
    "attack": ("harness.cli.attack:attack", "Try every known attack on this installation."),
    "serve": ("harness.cli.serve:serve", "Serve this installation over HTTP, for many users."),
    "tokens": ("harness.cli.tokens:tokens", "Make, list and revoke users' tokens; quotas; who did what."),
    "completion": ("harness.cli.completion:completion", "Print the shell completion script."),
    "version": ("harness.cli.version:version", "Print versions of dojo and what it works with."),
}
TASKS = {
    "list": ("harness.cli.tasks:list_tasks", "List tasks with their profiles."),
    "show": ("harness.cli.tasks:show_task", "Show one task: goal, metric, budget, data."),
    "check": ("harness.cli.tasks:check_task", "Check a task's directory and data."),
    "new": ("harness.cli.tasks_make:new_task", "Start a task from a working example."),
    "shell": ("harness.cli.shell:shell", "Open a person's shell in a live run."),
    "export": ("harness.cli.tasks_make:export_task", "Write a task out for Harbor."),
    "score": ("harness.cli.tasks_score:score_task", "Score given answers to given items, without a model."),
}
AGENTS = {
    "list": ("harness.cli.agents:list_agents", "List agents."),
    "check": ("harness.cli.agents:check_agent", "Check an agent's directory, or try it for a minute."),
    "install": ("harness.cli.agents:install_agents", "Make what agents need installed, once, from their locks."),
    "new": ("harness.cli.agents:new_agent", "Start an agent from a working example."),
}
BACKBONES = {
    "list": ("harness.cli.backbones:list_backbones", "List backbones with models, keys and prices."),
    "check": ("harness.cli.backbones:check_backbones", "Make one small call to each."),
}
BACKBONE = {"answer": ("harness.cli.backbone:answer", "List and answer what a run's agent asks.")}
GATEWAY = {"serve": ("harness.cli.gateway:serve", "Serve the shared backbones of dojo.toml to many runs.")}
MODELS = {
    "list": ("harness.cli.models:list_models", "List base models with origin, licence and digest."),
    "add": ("harness.cli.models:add_model", "Put a model into the cache, by hub id or from a folder."),
    "verify": ("harness.cli.models:verify_models", "Check base models against their checksums."),
}
DATA = {
    "list": ("harness.cli.data:list_data", "List prepared data and models in the cache."),
    "prepare": ("harness.cli.data:prepare_data", "Prepare a task's data and base model."),
    "secret": ("harness.cli.data:secret", "Show or set the secret that hidden splits are drawn with."),
    "verify": ("harness.cli.data:verify_data", "Check prepared data against its checksums."),
}
IMAGES = {
    "list": ("harness.cli.images:list_images", "List images and whether they are built."),
    "build": ("harness.cli.images:build_images", "Build images, from a registry or without one."),
    "verify": ("harness.cli.images:verify_images", "Check images and try what they hold."),
}
CLUSTER = {
    "install": ("harness.cli.cluster:install", "Install, wait until it is ready, and check."),
    "check": ("harness.cli.cluster:check", "Check the installation, from outside and from a pod."),
    "uninstall": ("harness.cli.cluster:uninstall", "Remove what was installed; data stay."),
}
ARTEFACTS = {
    "list": ("harness.cli.artefacts:list_artefacts", "List runs, and what of each is here and there."),
    "push": ("harness.cli.artefacts:push", "Put runs that have ended there, or go on with it."),
    "pull": ("harness.cli.artefacts:pull", "Bring the folders of runs back."),
    "verify": ("harness.cli.artefacts:verify", "Read runs there, and compare every byte with their manifests."),
    "drop": ("harness.cli.artefacts:drop", "Free the disk here of what is safe there."),
}
CONFIG = {"show": ("harness.cli.config:show_config", "Print each setting with its origin.")}
TOKENS = {
    "list": ("harness.cli.tokens:list_tokens", "List tokens and users."),
    "create": ("harness.cli.tokens:create", "Make a token and print it, this once."),
    "revoke": ("harness.cli.tokens:revoke", "Let nobody in with a token any more."),
    "quota": ("harness.cli.tokens:quota", "Say what a user may use."),
    "audit": ("harness.cli.tokens:audit", "Show who did what."),
}
OVER_SERVER = (
    "submit", "status", "runs", "batches", "logs", "show", "files", "export", "cancel", "leaderboard", "compare", "report", "tag",
    "exclude", "include", "tasks list", "tasks show", "agents list", "backbones list", "models list",
)  # fmt: skip
"""Commands that ask a service where one is set."""

HERE = (
    "serve", "tokens", "run", "tasks", "agents", "backbones", "gateway", "models", "data", "images", "cluster", "config",
    "schema", "doctor", "attack", "completion", "version",
)  # fmt: skip
"""Commands that else are about this machine, whatever service is set. The others are about results, which lie at the service
then."""
