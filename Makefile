# Everything is done by the scripts; this file gives them short names. `make` alone lists them.
AGENTS  ?= base recipe ft_agent
TASK    ?= math/aime25
PROFILE ?= mini
DEMO    ?= --parallel 2
SANDBOX ?=

.DEFAULT_GOAL := help
.PHONY: help install setup demo test test-fast lint bench contract clean

help:  ## list these targets
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1	/' | expand -t 14

setup:  ## make .venv, install everything, fetch the small base model and its data; quick when done
	@scripts/setup.sh

install:  ## the installs of setup alone: no model, no data
	@SKIP_ASSETS=1 scripts/setup.sh

demo: setup  ## three agents fine-tune a real model on one mini task; ends with the leaderboard
	@AGENTS="$(AGENTS)" TASK="$(TASK)" PROFILE="$(PROFILE)" SANDBOX="$(SANDBOX)" scripts/demo.sh $(DEMO)

test: setup  ## every test (about an hour on 2 cores)
	@scripts/test.sh

test-fast: setup  ## the tests that train and score no model (about ten minutes)
	@scripts/test.sh --fast

lint: install  ## ruff, mypy --strict, import direction
	@scripts/lint.sh

contract: install  ## what each sandbox backend promises and keeps, with Inspect's own checks, as one table
	@scripts/inspect.sh
	@.venv/bin/python scripts/contract.py

bench: setup  ## the benchmarks; each prints a ratio and writes JSON under build/benchmarks
	@scripts/bench.sh

clean:  ## remove .venv and tool caches; results and the model cache stay
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './results/*' -prune -exec rm -rf {} +
