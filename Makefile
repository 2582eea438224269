PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONFIG ?= configs/breast_cancer.yaml
ARGS ?=
BIN = .venv/bin

.DEFAULT_GOAL := help
.PHONY: help fit test test-slow test-all test-kill check format bench lock clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

fit: .venv/.core  ## Train CONFIG (configs/breast_cancer.yaml) with ARGS ('key=value ...').
	$(BIN)/trainer fit $(CONFIG) $(ARGS)

# Worksteal keeps the tests of a file together, and splits a file only when a worker runs out of tests.
PYTEST = $(BIN)/pytest --numprocesses=2 --dist=worksteal

test: .venv/.dev  ## Run the quick tests, all that a change needs: 4 to 7 minutes on two cores (ARGS).
	$(PYTEST) -m 'not slow and not kill' $(ARGS)

test-slow: .venv/.dev  ## Run the remaining tests: wide grids, whole clusters, killed processes (ARGS).
	$(PYTEST) -m 'slow or kill' $(ARGS)

test-all: test test-slow  ## Run all tests.

test-kill: .venv/.dev  ## Kill 200 training runs at random moments, and others at every disk operation (ARGS).
	TRAINER_KILL_HISTORIES=200 $(PYTEST) tests/kill $(ARGS)

check: .venv/.dev  ## Check style, types and layers without changing files.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev  ## Format the code and regenerate configs/schema.json.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/trainer schema > configs/schema.json

bench: .venv/.dev .venv-bench/.ready  ## Run the benchmarks and write benchmarks/RESULTS.md (ARGS: workloads, --quick).
	$(BIN)/python -m benchmarks.run $(ARGS)

lock: .venv/.dev  ## Regenerate requirements.lock from pyproject.toml.
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --no-emit-package yaml-trainer --universal --python-version 3.11 \
		--no-header --quiet --upgrade --output-file requirements.lock

clean:  ## Remove everything the other targets created, except runs.
	rm -rf .venv .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/.core: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "trainer needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[plots]'
	touch $@

.venv/.dev: .venv/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	touch $@

# A separate environment for the baselines: Keras imports scikit-learn if it is installed.
.venv-bench/.ready: pyproject.toml requirements.lock benchmarks/constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock \
		--constraint benchmarks/constraints.txt '.[bench,images]'
	touch $@
