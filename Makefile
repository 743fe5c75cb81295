# Every verb works from a fresh clone: what it needs, it installs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev check test ci demo up bench simulate chaos docs lock clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %s: make PYTHON=python3.12" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# The locks name everything, so pip resolves nothing: a resolver would ask for `coverage[toml]` anew and take a version no hash is known of.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	$(BIN)/python -m compileall -q enforcer
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.runtime        ## make .venv and install what a user needs
setup-dev: $(VENV)/.dev        ## the same, and what a developer needs

check: $(VENV)/.dev            ## format, lint, types, imports, tidy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/tidy -p no:cacheprovider

test: $(VENV)/.dev             ## all tests, on the same real Kafka
	$(BIN)/python -m pytest -q tests/chaos
	$(BIN)/python -m pytest -q -n 4 --dist loadgroup tests/integration
	$(BIN)/python -m pytest -q -n 2 tests/simulation
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup --cov --cov-report=term:skip-covered tests/unit tests/conformance tests/tidy

ci: check test                 ## what CI runs

demo: $(VENV)/.runtime         ## the whole path on live traffic
	@$(BIN)/enforcer demo

up: $(VENV)/.runtime           ## the local stack alone
	@$(BIN)/enforcer up

bench: $(VENV)/.runtime        ## all benchmarks, each beside its baseline
	$(BIN)/enforcer bench stream --rounds 3
	$(BIN)/enforcer bench latency --rounds 3

SEEDS ?= 100
FIRST ?= 1
simulate: $(VENV)/.dev         ## SEEDS=100 FIRST=1: the data plane under faults, a seed a run, deterministic
	@$(BIN)/python tests/simulation/simulate.py --seeds $(SEEDS) --first $(FIRST) $(MORE)

chaos: $(VENV)/.dev            ## minutes of kills, zombies, full disks on a real broker of its own; one JSON line
	@$(BIN)/python tests/chaos/chaos_run.py $(MORE)
	@$(BIN)/python tests/chaos/repartition_run.py

docs: $(VENV)/.dev             ## regenerate what is generated, and check links
	$(BIN)/python -m pytest -q tests/tidy -p no:cacheprovider -k docs

lock: $(VENV)/.dev             ## renew the locks
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock
	for peer in quix faust; do $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate enforcer/bench/peers/$$peer.in -o enforcer/bench/peers/$$peer.lock || exit 1; done

clean:                         ## remove what make made
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .coverage
