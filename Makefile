# `make reproduce` makes the environment and runs the workflow; `make test` runs the tests.
PYTHON ?= python3
CORES ?= all
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: reproduce test test-slow test-mutants test-chaos test-slurm bench docs docs-site lint lock clean help

reproduce: .venv/ready ## train, measure, compare; ends with the report's path
	@snakemake --cores $(CORES)
	@samscope report --where

test: .venv/ready ## the test suite, 4 to 9 minutes on two quiet cores
	@python -m pytest -n 2 --dist worksteal

test-slow: .venv/ready ## what takes minutes: the quick profile twice, byte for byte, and long workflows
	@python -m pytest -m slow

test-mutants: .venv/ready ## mistakes put into the source one at a time, each of which a test must see
	@python tests/mutants.py

test-chaos: .venv/ready ## kill -9 at 50 instants of a small workflow, and two at once: the same bytes
	@python tests/chaos.py

test-slurm: .venv/ready ## a small workflow through a Slurm of its own, whose jobs are killed; minutes
	@python -m pytest -m slurm -rs tests/test_slurm.py

bench: .venv/ready ## how fast training is on this machine, in six minutes
	@python -m benchmarks.engine

docs: .venv/ready ## put the results of decide and cpu into the README and docs/results.md
	@snakemake --cores $(CORES) --config profile=decide
	@snakemake --cores $(CORES) --config profile=cpu
	@python docs/build.py

lint: .venv/ready ## style and types of Python, style of Snakemake rules and workflow
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy

docs-site: .venv/ready ## the pages of docs/ and the reference, as a website in site/
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo site/index.html

lock: .venv/ready ## pin what a change of pyproject.toml brings; without the file, everything anew
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --extra dev pyproject.toml -o requirements.lock

clean: ## remove the environment; results stay
	rm -rf .venv

# pip fetches uv by the hash in the lock; uv installs the rest of it.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "samscope needs Python 3.11 or later, set PYTHON=")'
	$(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/^[^ ]/p' requirements.lock | sed '$$d' > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement .venv/uv.txt
	$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock --python $(BIN)/python
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable . --python $(BIN)/python
	@touch $@

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'
