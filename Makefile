PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONFIG ?= configs/breast_cancer.yaml
ARGS ?=
BIN = .venv/bin

.DEFAULT_GOAL := help
.PHONY: help fit test test-kill check format bench lock clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

fit: .venv/.core  ## Train CONFIG (configs/breast_cancer.yaml) with ARGS ('key=value ...').
	$(BIN)/trainer fit $(CONFIG) $(ARGS)

test: .venv/.dev  ## Run all tests.
	$(BIN)/pytest --numprocesses=2 --dist=loadfile

test-kill: .venv/.dev  ## Kill 200 trainings at any moments, others at each operation on their disk (ARGS).
	TRAINER_KILL_HISTORIES=200 $(BIN)/pytest tests/kill --numprocesses=2 --dist=worksteal $(ARGS)

check: .venv/.dev  ## Style, types and layers; changes nothing.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev  ## Put the code in its form.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/trainer schema > configs/schema.json

bench: .venv/.dev .venv-bench/.ready  ## Measure; writes benchmarks/RESULTS.md (ARGS: names of workloads, --quick).
	$(BIN)/python -m benchmarks.run $(ARGS)

lock: .venv/.dev  ## Write requirements.lock anew from pyproject.toml.
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --no-emit-package yaml-trainer --universal --python-version 3.11 \
		--no-header --quiet --upgrade --output-file requirements.lock

clean:  ## Remove what the other targets made, except runs.
	rm -rf .venv .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/.core: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "trainer needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[plots]'
	touch $@

.venv/.dev: .venv/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	touch $@

# What ours is measured against, apart from it: Keras imports scikit-learn where it finds it.
.venv-bench/.ready: pyproject.toml requirements.lock benchmarks/constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock \
		--constraint benchmarks/constraints.txt '.[bench]'
	touch $@
