# The two commands: `make up` (a running PostgreSQL) and `make test` (proof that the whole project is sound).
# Everything else is a step of these, and what runs here can as well be typed by hand with .venv active.
SHELL := /bin/sh
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Python may cache compiled modules, and reads Ansible modules from standard input in blocks: with PYTHONUNBUFFERED it
# reads them byte by byte, which takes 0.3 s a module.
unexport PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
# Ansible starts in a UTF-8 locale alone. One that is not there (of a colleague's terminal, say) is none.
ifneq ($(shell locale charmap 2>/dev/null),UTF-8)
export LC_ALL := $(or $(firstword $(filter C.UTF-8 C.utf8 en_US.UTF-8 en_US.utf8,$(shell locale -a 2>/dev/null))),C.UTF-8)
endif
PLAY := ansible-playbook
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev engine up down build lint format docs test test-long test-unit test-containers test-image test-stack test-molecule test-docs bench bench-tuning hooks lock-python clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make the virtual environment .venv from the locked requirements
	@scripts/bootstrap

setup-dev: setup
	@scripts/bootstrap dev

up: setup ## From a bare machine to a running, tuned, verified PostgreSQL 18; again: nothing changes
	@$(PLAY) playbooks/up.yml

down: setup ## Stop it and keep the data (to remove it: ansible-playbook remove.yml)
	@$(PLAY) playbooks/stop.yml

engine: setup
	@$(PLAY) playbooks/engine.yml

build: engine ## Build the images from the lock
	@$(PLAY) build.yml

lint: setup-dev ## All linters, types, syntax, and the drift of generated files
	@scripts/lint.py

format: setup-dev ## Format the Python, and fix what the linters can fix
	@ruff check --fix --quiet . && ruff format --quiet .

docs: setup-dev ## Generate again what is generated: reference pages, build context
	@scripts/generate.py

# An engine and images come from the network in part, so meanwhile the processors have time for the rest.
test: setup ## Everything: linters and unit tests, then the tests with containers
	@$(MAKE) --no-print-directory --jobs=3 lint test-unit build
	@$(MAKE) --no-print-directory test-containers

test-unit: setup-dev ## Unit and property tests: no container, no host
	@pytest -q -n auto

# Whole files at once: the tests of a file may build on each other. Each worker has servers and hosts of its own.
TOGETHER := pytest -q -p support.progress -p support.priority --dist loadfile

# What changes the machine itself, with nothing beside it.
ALONE := pytest -q tests/exclusive

# Four workers: the two scenarios, and two for the rest. The longest files first: together they end when the last one does.
test-containers: setup-dev build ## All tests with containers, in parallel: Molecule, runbooks, stacks, images
	@$(TOGETHER) -n 4 --no-loadscope-reorder tests/scenarios tests/docs/test_runbooks_local.py \
		tests/docs/test_runbooks_cluster.py tests/docs/test_pages.py tests/objects tests/stack tests/image
	@$(ALONE)

test-image: setup-dev build ## Of these: the built images, in real containers
	@$(TOGETHER) -n 2 tests/image

test-stack: setup-dev build ## Of these: deploy, change, break and remove instances and what they hold, on this machine's engine
	@$(TOGETHER) -n 2 tests/objects tests/stack
	@$(ALONE)

test-molecule: setup-dev build ## Of these: the stacks, on hosts that run their own Docker Engine
	@pytest -q -s tests/scenarios

test-docs: setup-dev build ## Of these: every runbook, as it is written
	@$(TOGETHER) -n 2 tests/docs

# What takes too long for each run: more rounds of the random tests, of edits and of rules.
test-long: setup-dev build ## The random tests with many more cases (five to fifteen minutes)
	@AZA_LONG=1 $(TOGETHER) -n 2 tests/objects/test_drift.py tests/stack/test_pool_rules.py
	@AZA_LONG=1 pytest -q -s tests/scenarios/test_single.py

bench: setup-dev build ## Time an observation of a large server, a deploy without changes, a check of 200 hosts (minutes)
	@tests/bench/observe.py
	@tests/bench/inventory.py

bench-tuning: setup-dev build ## Compare our tuning with other tools, measured here (most of an hour; not a test)
	@tests/bench/tuning.py

hooks: setup-dev ## Install the git hooks: format, lint and generate before each commit
	@pre-commit install

LOCK := .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --only-binary :all: \
	--generate-hashes --no-emit-index-url --custom-compile-command 'make lock-python'
lock-python: setup-dev ## Resolve the Python requirements again and lock them with hashes
	@$(LOCK) requirements.in -o requirements.txt
	@$(LOCK) requirements.in requirements-dev.in -c requirements.txt -o requirements-dev.txt
	@$(LOCK) --no-deps requirements-collections.in -o requirements-collections.txt

clean: ## Remove environment, caches and built archives (never data, never secrets)
	@rm -rf .venv .collections .cache diagnostics .hypothesis .pytest_cache .mypy_cache .ruff_cache
