# Needs git, make and Python 3.11 or newer; writes only to .venv and .local.

PYTHON ?= python3
VENV := .venv
LOCAL := .local
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready
LISTS := requirements/production.in requirements/containers.in requirements/development.in

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Airflow reads settings and Connections from the environment: remove those of the caller's own Airflow.
unexport $(filter AIRFLOW%,$(.VARIABLES))
export AIRFLOW_HOME := $(CURDIR)/$(LOCAL)/airflow
export AIRFLOW__CORE__DAGS_FOLDER := $(CURDIR)/dags
export AIRFLOW__CORE__PLUGINS_FOLDER := $(CURDIR)/plugins
export AIRFLOW__CORE__LOAD_EXAMPLES := False
export PYTHONPATH := $(CURDIR):$(CURDIR)/plugins
run check test lint types unit-tests all-tests test-faults test-distributed bench format docs pictures import-env: private export PATH := $(CURDIR)/$(BIN):$(PATH)

export PIP_CACHE_DIR := $(CURDIR)/$(LOCAL)/cache/pip
export UV_CACHE_DIR := $(CURDIR)/$(LOCAL)/cache/uv
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/$(LOCAL)/cache/hypothesis
# Airflow has many processes: without compiled modules, each process would compile them for seconds.
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(LOCAL)/cache/bytecode
unexport PYTHONDONTWRITEBYTECODE

# More workers than cores, because tests often wait for servers.
WORKERS ?= 3
APT := apt-get install python3-venv libcurl4
step = @printf '\n── %s\n' '$(1)'
need = @$(1) >/dev/null 2>&1 || { echo '$(2)' >&2; exit 1; }
or_stop = || { echo 'Stopped: $(1). The lines above say why.' >&2; exit 1; }
# Print the output of each target in one piece, except for lines with +, which print at once.
at_the_same_time = $(MAKE) --jobs --keep-going --output-sync=target
compile = $(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --annotation-style line \
	--custom-compile-command 'make requirements' $(if $(UPGRADE),--upgrade)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(READY) ## Start the local stack and Airflow, run each action (ONCE=1: then stop; MONGOD=/path: another mongod)
	@python -m dev.local_stack.run $(if $(ONCE),--once)

.PHONY: check
check: $(READY) ## Check style and types, run the unit tests: the fast part of make test
	@$(at_the_same_time) lint types unit-tests

.PHONY: test
test: $(READY) ## Check style and types, run all tests (ARGS="-k lease": with these options of pytest)
	@$(at_the_same_time) lint types all-tests

.PHONY: lint
lint: $(READY) ## Check the style
	@ruff check .
	@ruff format --check .

.PHONY: types
types: $(READY) ## Check the types
	@mypy

.PHONY: unit-tests
unit-tests: $(READY) ## Run the unit tests
	+@pytest --numprocesses=2 tests/unit $(ARGS)

.PHONY: all-tests
all-tests: $(READY) ## Run all tests
	+@pytest --numprocesses=$(WORKERS) --no-loadscope-reorder $(ARGS)

.PHONY: test-faults
test-faults: $(READY) ## Run the tests of faults, rights and secrets, the slow ones too
	@pytest -m 'slow_fault or not slow_fault' tests/faults tests/dags/test_least_privilege.py tests/dags/test_secrets.py \
		tests/dags/test_tls.py tests/integration/actions/test_killed_runs.py tests/integration/actions/test_proofs.py \
		tests/integration/storage/test_s3_faults.py $(ARGS)

.PHONY: test-distributed
test-distributed: $(READY) ## Run a backfill on two Celery workers, kill one in the middle, compare the results
	@python -m dev.local_stack.distributed

.PHONY: bench
bench: $(READY) ## Measure backfills (DATASETS="2000 9000"; DAG=1: also Airflow; SCALE=1: also 500,000 datasets; ONLY=heavy)
	@python -m dev.bench $(DATASETS) $(if $(DAG),--airflow) $(if $(SCALE),--scale) $(ONLY:%=--only=%)

.PHONY: audit
audit: $(READY) ## Look up the packages of production in the Python advisory database (needs the JSON API of pypi.org)
	@$(BIN)/pip-audit --requirement requirements.txt --no-deps --disable-pip --strict

.PHONY: import-env
# The Airflow of make run, unless the caller names another one.
import-env: private export AIRFLOW_HOME := $(CURDIR)/$(LOCAL)/run/airflow
import-env: $(READY) ## Turn ENV_FILE=/path into Connections and Variables of the Airflow of make run (YES=1: do not ask)
	$(if $(ENV_FILE),,$(error Name the file: make import-env ENV_FILE=/path/to/.env))
	@python -m datasets_server.import_env $(if $(YES),--yes) '$(ENV_FILE)'

.PHONY: format
format: $(READY) ## Format the code, and fix what the linter can fix
	@ruff check --fix-only .
	@ruff format .

.PHONY: docs
docs: $(READY) ## Write the tables of README.md and docs/actions.md from the DAGs
	@python -m dev.docs

.PHONY: pictures
pictures: $(READY) ## Take the pictures of docs/images anew (needs Chromium)
	@python -m dev.pictures

.PHONY: setup
setup: $(READY) ## Install the pinned packages into .venv (the other targets do this too)

.PHONY: requirements
requirements: $(UV) ## Compile the pinned package lists (UPGRADE=1: with newer indirect packages)
	@echo 'Compiling the package lists ...'
	@$(compile) requirements/production.in --output-file requirements.txt
	@$(compile) requirements/containers.in --constraints requirements.txt --output-file requirements/containers.txt
	@$(compile) $(LISTS) --constraints requirements.txt --constraints requirements/containers.txt \
		--output-file requirements/development.txt

.PHONY: clean
clean: ## Remove .venv and all local data
	rm -rf $(VENV) $(LOCAL)

$(READY): requirements/development.txt | $(UV)
	@echo 'Installing the pinned packages into $(VENV) (about a minute the first time) ...'
	@$(UV) pip sync --quiet --python $(BIN)/python $< $(call or_stop,installing the packages of $< failed)
	@touch $@

$(UV):
	$(call need,$(PYTHON) -c 'import sys; assert sys.hexversion >= 0x030B0000',Python 3.11 or newer is needed: make PYTHON=/path/to/python3)
	$(call need,$(PYTHON) -c 'import ensurepip',$(PYTHON) cannot create virtual environments: $(APT))
ifeq ($(shell uname -sm),Linux x86_64)
	$(call need,$(PYTHON) -c 'import ctypes; ctypes.CDLL("libcurl.so.4")',MongoDB cannot start without libcurl: $(APT))
endif
	@echo 'Creating the virtual environment $(VENV) ...'
	@$(PYTHON) -m venv --clear $(VENV) $(call or_stop,creating $(VENV) failed)
	@$(BIN)/pip install --quiet --disable-pip-version-check "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements/development.in)" \
		$(call or_stop,installing uv failed)
