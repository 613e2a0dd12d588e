# Make is the interface. `make` prints this help; `make run` and `make test` are all that a newcomer needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTBED := infra/testbed/testbed
# Most tests wait for daemons: two workers, each with a testbed of its own, halve the time (tests/conftest.py).
WORKERS ?= 2
IN_WORKERS := -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: help
help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/runtime demo ## Run the agent on a demo workspace in demo/ with whatever is reachable (Ctrl-C ends it)
	@HOSTK8S_AGENT_LOG_FORMAT=$${HOSTK8S_AGENT_LOG_FORMAT:-text} exec $(BIN)/hostk8s-agent run --workspace demo

.PHONY: test
test: $(VENV)/development testbed-install lint ## Install all that the tests need, then lint, types, layers and all tests on the real components
	@$(BIN)/pytest $(IN_WORKERS) --cov --cov-report=term

.PHONY: test-unit
test-unit: $(VENV)/development lint ## The quick subset that needs no Docker and no cluster
	@$(BIN)/pytest -m "not engine and not cluster and not node and not tools" $(IN_WORKERS) --cov --cov-report=term

.PHONY: lint
lint: $(VENV)/development ## Style, types and layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/development ## Format the code, and mend what can be mended
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

.PHONY: bench
bench: $(VENV)/development testbed-install ## Measure the agent and its rivals in one run, and write benchmarks/results.md
	@$(BIN)/python benchmarks/run.py --record

ROWS ?=
.PHONY: faults
faults: $(VENV)/development testbed-install ## Make every fault happen many times, and write docs/reliability.md (ROWS='D5 W1': those)
	@$(BIN)/pytest -q -m fault --trials=full --record-rows --rows="$(ROWS)"

.PHONY: soak
soak: $(VENV)/development testbed-install ## The same for what takes an hour: crashes under churn, an engine that restarts
	@$(BIN)/pytest -q -m fault --trials=soak --record-rows --rows="$(ROWS)"

.PHONY: screenshots
screenshots: $(VENV)/development ## Take the pictures of the dashboard anew into docs/screenshots/: then look at them
	@$(TESTBED) install tools
	@$(BIN)/python infra/screenshots.py

.PHONY: schema
schema: $(VENV)/runtime ## Write the JSON Schemas and the table of docs/settings.md anew from the models
	@$(BIN)/hostk8s-agent schema > contracts/storage-contract.schema.json
	@$(BIN)/hostk8s-agent settings schema > docs/settings.schema.json
	@sed '/^<!-- make schema/q' docs/settings.md > docs/.settings.md && $(BIN)/hostk8s-agent settings schema -o table >> docs/.settings.md
	@mv docs/.settings.md docs/settings.md

.PHONY: lock
lock: $(BIN)/python ## Write the lock files anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet 'uv>=0.8,<1'
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade --group dev -o requirements-dev.lock pyproject.toml

.PHONY: build
build: $(VENV)/development ## Build the wheel into dist/
	@$(BIN)/uv build --quiet --wheel

.PHONY: clean
clean: ## Remove what make made here (the testbed's cache in your home stays)
	@rm -rf $(VENV) demo dist build .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: testbed-install
testbed-install: # What the testbed needs: Debian packages, the engine, the Kubernetes binaries, the node's image
	@$(TESTBED) install

# A bare Debian has Python without venv.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || infra/install-venv
	@echo "making $(VENV) and installing into it ..." >&2
	@$(PYTHON) -m venv $(VENV)

# The markers say which lock file was installed, so that a changed one is installed again. The lock files are complete:
# without --no-deps an old pip looks for a newer `coverage[toml]` than the `coverage` that they pin, and fails.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps
$(VENV)/runtime: $(BIN)/python requirements.lock pyproject.toml
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/development: $(VENV)/runtime requirements-dev.lock
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

demo: ## Make the demo workspace from contracts/examples/
	@mkdir -p demo/software/stacks
	@cp -R contracts/examples/. demo/software/stacks/
