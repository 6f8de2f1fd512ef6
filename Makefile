.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
export CONF ?= {}
export MODEL
INPUTS ?= 20000
BIN := .venv/bin

# The virtual environment is made once for each state of the two lock files.
INSTALLED := .venv/.installed

$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed; $$($(PYTHON) --version) came. Try: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing the locked requirements into .venv"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip --quiet --disable-pip-version-check install uv
	@$(BIN)/uv --quiet pip install --python $(BIN)/python --no-deps --compile-bytecode \
		-r requirements.txt -r requirements-dev.txt
	@touch $@

export KEEP

.PHONY: help install run tune score ui serve up down compose-test champion rollback clean-runs test test-all fuzz check format lock bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## make .venv with the locked requirements

run: $(INSTALLED) ## train once in the foreground; CONF='{"epochs": 3}' overrides any setting
	@$(BIN)/python -m launcher.run --conf "$$CONF"

tune: $(INSTALLED) ## search for better settings; CONF='{"num_trials": 30}' overrides any setting
	@$(BIN)/python -m launcher.run --dag fer_tuning --conf "$$CONF"

score: $(INSTALLED) ## let the champion score new images; CONF='{"images": "/data/inbox"}' overrides any setting
	@$(BIN)/python -m launcher.run --dag fer_scoring --conf "$$CONF"

ui: $(INSTALLED) ## Airflow with its web UI on http://127.0.0.1:8080
	@$(BIN)/python -m launcher.ui

serve: $(INSTALLED) ## the champion as a service with a page, on http://127.0.0.1:8090
	@$(BIN)/python -m service

up: ## the pipeline in containers; prints address and login (needs Docker with Compose 1.29 or 2)
	@$(PYTHON) -m launcher.stack up

down: ## stop the containers; runs, models and databases stay in their volumes
	@$(PYTHON) -m launcher.stack down

compose-test: ## a stack of containers of its own: started, a run triggered, its report fetched, removed
	@$(PYTHON) -m launcher.stack_trial

champion: $(INSTALLED) ## the model in use and who was champion when; MODEL=name for another registered model
	@$(BIN)/python -m fer_tasks.champion show $${MODEL:+--model "$$MODEL"}

rollback: $(INSTALLED) ## take the former champion back; MODEL=name for another registered model
	@$(BIN)/python -m fer_tasks.champion rollback $${MODEL:+--model "$$MODEL"}

clean-runs: $(INSTALLED) ## delete the oldest runs: KEEP=20 leaves so many, and all whose models were promoted
	@$(BIN)/python -m fer_tasks.retention --keep "$${KEEP:?say how many runs to keep, as in make clean-runs KEEP=20}"

test: $(INSTALLED) ## the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: test ## the tests and the slow ones, which want the machine alone: real data, real kills, the browser
	@$(BIN)/python -m pytest -m slow

fuzz: $(INSTALLED) ## broken inputs for every reader of strangers' bytes; INPUTS=200000 of each
	@for reader in csv zip image pixel_text conf; do \
		nice $(BIN)/python -m fuzz.run $$reader --inputs $(INPUTS) || exit 1; done

check: $(INSTALLED) ## ruff, mypy, and known vulnerabilities of the locked packages where pip-audit's index answers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m launcher.audit

format: $(INSTALLED) ## let ruff format and sort what it can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: ## renew requirements.txt and requirements-dev.txt from their .in files
	@$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip --quiet install uv
	@for set in requirements requirements-dev; do \
		.venv-lock/bin/uv --quiet pip compile --upgrade --universal --no-emit-index-url --python-version 3.11 \
			--override requirements-overrides.txt --custom-compile-command "make lock" $$set.in -o $$set.txt || exit 1; done
	@rm -r .venv-lock

bench: $(INSTALLED) ## every benchmark of benchmarks/
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean: ## remove the runs, the Airflow home and .venv
	rm -rf .venv .airflow runs .pytest_cache .mypy_cache .ruff_cache
