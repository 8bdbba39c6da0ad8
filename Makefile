# Every command sets up what it needs in .venv, once; the stamps in there say what is up to date.
# Paths are relative on purpose, so that the checkout may lie in a folder with a space in its name.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test torture lint bench docs lock clean

# The Python that .venv is made with (3.11 or later): make demo PYTHON=/path/to/python3.12
PYTHON ?= python3
# Tried in this order when python3 is too old and no PYTHON was given.
OTHER_PYTHONS := $(if $(filter file,$(origin PYTHON)),python3.13 python3.12 python3.11)
# Passed on to the demo, the benchmarks and the tests: make bench ARGS="--quick"
ARGS ?=
# One more than there are processors: many tests wait, for a process to start or to end.
PYTEST_WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)' 2>/dev/null || echo auto)

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 14

demo: .venv/.project ## three agents and a listener at work, on a database of its own
	@$(PY) examples/demo.py $(ARGS)

lint: .venv/.dev ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test: lint ## lint, then every test (make test ARGS="-k streams" for some)
	$(PY) -m pytest -n $(PYTEST_WORKERS) --dist loadgroup $(ARGS)

torture: .venv/.dev ## the long form of what kills servers and of the fuzzers (TORTURE_KILLS, TORTURE_SEED, FUZZ_INPUTS, FUZZ_SEED)
	TORTURE_KILLS=$(or $(TORTURE_KILLS),50) FUZZ_INPUTS=$(or $(FUZZ_INPUTS),20000) \
	  $(PY) -m pytest -n 0 $(or $(ARGS),tests/e2e/test_torture.py tests/e2e/test_orchestrate_torture.py tests/e2e/test_fuzz_websocket.py tests/e2e/test_fuzz_stdio.py)

bench: .venv/.dev ## the measurements, printed as tables
	@$(PY) -m benchmarks $(ARGS)

docs: .venv/.project ## write what is generated in docs/
	@$(PY) docs/generate.py $(ARGS)

lock: .venv/.dev ## resolve the pinned requirements anew
	@$(PY) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "make lock needs a .venv with Python 3.11, the oldest supported: the pins must hold for it." >&2; exit 1; }
	$(COMPILE) --output-file requirements/run.txt pyproject.toml
	$(COMPILE) --output-file requirements/build.txt requirements/build.in
	$(COMPILE) --output-file requirements/dev.txt requirements/dev.in

COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile --quiet --upgrade \
  --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
  --no-emit-options --no-allow-unsafe --unsafe-package pip

clean: ## remove .venv and everything else that can be made again
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis benchmarks/peers/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ---

.venv/.made:
	@set -e; \
	if [ ! -e .venv ]; then \
	  found=; \
	  for python in "$(PYTHON)" $(OTHER_PYTHONS); do \
	    if "$$python" -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "Task Copilot needs Python 3.11 or later; $(PYTHON) is: $$("$(PYTHON)" --version 2>&1 || true)" >&2; \
	    echo "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making .venv with $$("$$found" --version) (once)"; \
	  "$$found" -m venv .venv || { rm -rf .venv; \
	    echo "$$found cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }; \
	elif ! $(PY) -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
	  echo ".venv holds no working Python 3.11 or later: $$($(PY) --version 2>&1 || true)" >&2; \
	  echo "Remove it with 'make clean' and try again." >&2; \
	  exit 1; \
	fi; \
	touch $@

.venv/.run: .venv/.made requirements/run.txt requirements/build.txt
	@echo "Installing what the server needs"
	@$(PIP) install -r requirements/run.txt -r requirements/build.txt
	@touch $@

.venv/.project: .venv/.run pyproject.toml
	@# setuptools warns of editable installs in general; ours has nothing to be careful with
	@PYTHONWARNINGS='ignore:Editable installation' $(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.project requirements/dev.txt
	@echo "Installing what tests and checks need"
	@$(PIP) install -r requirements/dev.txt
	@touch $@
