# Every target sets up what it needs first; `make setup` does nothing when nothing changed.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Open MPI refuses to start ranks for root, which is who runs in containers and CI, unless told twice.
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test check bench stress docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup: ## make .venv with everything the project needs, and check it
	@tools/setup.sh

reproduce: setup ## run config/quickstart.yaml to figures and results/report.html
	@snakemake --profile profiles/default

test: setup ## run all tests
	@pytest -n 2 --dist loadgroup && pytest -n 2 --dist loadfile neomem/tests/python

check: setup ## run the quality gates: lint, types, import walls, formats, spelling
	@tools/check.sh

bench: setup ## measure what we claim, beside the physical limit
	@python benchmarks/run.py

stress: setup ## run the engine's long tests (hours)
	@tools/neomem_stress.sh

docs: setup ## generate what docs/ takes from the code
	@python tools/generate_docs.py

clean: ## remove build products and caches, never results or .venv
	@rm -rf build dist neomem/build .*_cache .hypothesis src/*.egg-info && find src tests -name __pycache__ -exec rm -rf {} +
