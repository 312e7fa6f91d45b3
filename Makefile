# What a person or CI calls. Everything is set up on first use; a machine needs Python 3.11 (pip, venv) and make.
.POSIX:
.DEFAULT_GOAL := help
.PHONY: help demo test lint image lock bench clean

BOOTSTRAP := sh containers/bootstrap.sh
DEV := $(BOOTSTRAP) dev
SHELL_FILES = nextflow .ci/run containers/*.sh $(wildcard tests/*.sh)
PYTHON_FOLDERS = $(wildcard bin containers tests benchmarks)
OUTDIR = results
JUNIT = build/junit.xml

help: ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: ## run the whole analysis on the embedded cohort
	./nextflow run main.nf -profile test -resume --outdir $(OUTDIR)
	@echo "The report is $(abspath $(OUTDIR))/report.html: open it in a browser"
	@echo "(xdg-open $(OUTDIR)/report.html, on a Mac: open $(OUTDIR)/report.html)."

test: ## all tests: pytest, then nf-test where it is on PATH
	@mkdir -p build
	$(BOOTSTRAP) setup engine > build/parts.txt
	$(DEV) pytest --cov=bin --cov-report=term --junitxml=$(JUNIT) -o junit_family=xunit2 $(PYTEST_OPTIONS)
	$(DEV) python tests/check_none_lost.py $(JUNIT)
	@if command -v nf-test > build/nf-test.path; then \
	    PATH="$(CURDIR):$$PATH" $(DEV) sh tests/run_nf_tests.sh; \
	else \
	    echo "nf-test is not on PATH: the nf-test files were not run (pytest ran in full)"; \
	fi

lint: ## ruff, strict Nextflow parser, nf-core, shellcheck
	$(DEV) ruff check $(PYTHON_FOLDERS)
	$(DEV) ruff format --check $(PYTHON_FOLDERS)
	$(DEV) shellcheck $(SHELL_FILES)
	$(BOOTSTRAP) lint main.nf nextflow.config subworkflows modules conf
	PATH="$(CURDIR):$$PATH" NFCORE_NO_VERSION_CHECK=1 $(DEV) nf-core pipelines lint --dir .
	PATH="$(CURDIR):$$PATH" NFCORE_NO_VERSION_CHECK=1 $(DEV) nf-core pipelines schema lint nextflow_schema.json

image: ## build the container image with podman or docker
	sh containers/build_image.sh

lock: ## refresh all locks and show what changed
	$(BOOTSTRAP) lock

bench: ## run the benchmarks
	@if [ -x benchmarks/run ]; then $(DEV) benchmarks/run; else echo "no benchmarks/run in this version"; fi

clean: ## delete what runs and tests left in this folder (not the shared cache)
	rm -rf build work .nextflow .nextflow.log* .nextflow.pid .coverage .pytest_cache .ruff_cache
	rm -rf .hypothesis .nf-test* $(OUTDIR)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
