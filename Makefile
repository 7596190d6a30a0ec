# Two commands do everything, including set-up: `make demo` and `make test`.

PYTHON ?= python3
SECONDS ?= 30
WORKERS ?= 4
VENV := .venv
RUN := $(VENV)/bin/python
PYTEST = $(RUN) -m pytest -n $(WORKERS) --dist worksteal
READY := $(VENV)/.ready
CODE := benchmarks consumers demo docs edge framematch tests

# If this is set, every process of the demo and the tests compiles all its modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install up down demo servers test coverage test-fast lint format lock clean

help: ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: $(READY) ## set up, start the servers in the background, and build the demo's model if there is none
	@$(VENV)/bin/framematch stack up
	@ls -d model_repository/clip_image_* >/dev/null 2>&1 || $(VENV)/bin/framematch model build --from demo/model/grocery-lite

down: $(READY) ## stop the servers that `make up` started
	@$(VENV)/bin/framematch stack down

install: $(READY) ## set up .venv with every command; then: . .venv/bin/activate

demo: $(READY) ## set up, play two camera feeds through real servers, print a verdict (SECONDS=30)
	@$(RUN) -m demo.run --seconds $(SECONDS)

servers: $(READY) ## download and build the local servers, unless cached
	@$(RUN) -m framematch.stack.fetch

test: $(READY) servers ## set up and run all tests: unit, integration, end to end (WORKERS=4; 0: in one process)
	$(PYTEST) --durations=10

coverage: $(READY) servers ## run all tests and print the lines that no test runs; takes half as long again
	$(PYTEST) --cov --cov-report=term

test-fast: $(READY) ## run only the unit tests
	$(RUN) -m pytest -q tests/unit

lint: $(READY) ## run ruff, mypy --strict and import-linter
	$(VENV)/bin/ruff check $(CODE)
	$(VENV)/bin/ruff format --check $(CODE)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(READY) ## format the code and apply automatic fixes
	$(VENV)/bin/ruff check --fix $(CODE)
	$(VENV)/bin/ruff format $(CODE)

lock: $(READY) ## resolve the locked dependencies again, with hashes
	requirements/lock $(VENV)/bin/uv

clean: ## remove the virtual environment and the caches of tools
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist

# This file marks a complete environment; it is rebuilt when the locks or the package change.
$(READY): requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "framematch needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(VENV)/bin/uv pip install --quiet --system-certs --python $(RUN) --require-hashes -r requirements/dev.txt
	$(VENV)/bin/uv pip install --quiet --system-certs --python $(RUN) --no-deps --no-build-isolation -e .
	@touch $@
