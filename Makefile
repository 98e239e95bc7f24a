# What one can do here; `make help` prints it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Services are started many times over: without their bytecode each start compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check format accuracy bench chaos compose lock venv clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## The whole cluster on this machine with 1,000 members, until Ctrl-C (ONCE=1: one mailing, then end)
	@$(BIN)/python -m deploy.local.demo

test: $(READY) ## The tests, but for long stories; starts the PostgreSQL and the RabbitMQ that they need
	$(BIN)/pytest -m "not long" --numprocesses 2

check: $(READY) ## Lint, format, types and the layers of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Put all code into the one format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

accuracy: $(READY) ## How well bounces are read: our samples, and those that flufl.bounce publishes (fetched by pip)
	@$(BIN)/python -m tests.accuracy

bench: $(READY) ## The machine's limits, Postfix and Listfleet in one run (QUICK=1: one round; ONLY=cd: these parts)
	$(BIN)/python -m bench

chaos: $(READY) ## Long stories, then nodes, broker and database killed, frozen, cut off: an hour (SEEDS=20, FAULT=sender-killed)
	@failed=0; $(if $(FAULT),,$(BIN)/pytest -m long || failed=$$?; [ $$failed -ne 2 ] || exit 2;) \
	  $(BIN)/python -m chaos $(if $(SEEDS),--seeds $(SEEDS)) $(addprefix --fault ,$(FAULT)) || failed=$$?; exit $$failed

compose: ## Four sending containers on a clean clone deliver a post, one copy each (needs Docker)
	$(PYTHON) -m deploy.compose.check

lock: ## Pin the dependencies of pyproject.toml anew (needs uv)
	@command -v uv >/dev/null || { echo "uv was not found: see https://docs.astral.sh/uv/"; exit 1; }
	uv pip compile $(LOCK_OPTIONS) pyproject.toml -o requirements.lock
	uv pip compile $(LOCK_OPTIONS) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

LOCK_OPTIONS := --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11

venv: $(READY) ## The virtual environment; every target that needs it makes it

$(READY): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Listfleet needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)."; \
	  echo "Name another one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "Making the virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes --requirement $<
	@touch $@

clean: ## Remove what was made here: the virtual environment, the demo's and the tests' files, results, caches
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
	  bench/results.json chaos/results.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
