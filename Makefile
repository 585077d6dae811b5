# What a newcomer needs: `make up` runs the archive, `make test` shows that it works.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help up install dev services test unit lint format bench crash mutants lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet 'uv>=0.9'

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/uv
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.installed
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed ## Install the archive into .venv

dev: $(VENV)/.dev ## Install what tests and checks need into .venv

up: install ## Run the archive on this machine (DIMSE 11112, DICOMweb 8080); Ctrl-C stops it
	@$(BIN)/vna up

services: ## Install the servers and clients that the tests run against (dcmtk, Orthanc, MinIO, versitygw, Elasticsearch, Chromium, OHIF)
	@deploy/services/install

test: dev services ## Run every test against real services
	$(BIN)/pytest

unit: dev ## Run the tests that need no service, in seconds
	$(BIN)/pytest tests/unit tests/properties -q

lint: dev ## Check style, types and import rules
	$(BIN)/ruff format --check vna workers tests
	$(BIN)/ruff check vna workers tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: dev ## Bring the code into shape
	$(BIN)/ruff format vna workers tests
	$(BIN)/ruff check --fix vna workers tests

bench: dev services ## Measure against Orthanc and dcmtk's storescp in one run, print the ratios
	$(BIN)/python -m tests.benchmarks

crash: dev services ## Cut the power in 10,000 ways and break the disk in 300, and look for what was acknowledged (root; an hour)
	$(BIN)/python -m tests.faults.campaign --states 10000 --faults 300

mutants: dev services ## Put faults into a copy of the source; each must make a test fail (root)
	$(BIN)/python -m tests.faults.mutants

lock: dev ## Renew the lock files from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml -c requirements-dev.lock --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements.lock

clean: ## Remove the environment and caches; data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
