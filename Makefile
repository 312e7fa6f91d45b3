# What a person or CI calls. Everything is set up on first use; a machine needs Python 3.11 (pip, venv) and make.
.POSIX:
.DEFAULT_GOAL := help
.PHONY: help demo test test-all coverage test-setup lint lint-python lint-types lint-shell lint-nextflow lint-nf-core image lock audit bench truth clean

BOOTSTRAP := sh containers/bootstrap.sh
DEV := $(BOOTSTRAP) dev
# nf-core asks the engine for the configuration; nothing of it may need the network.
NF_CORE = PATH="$(CURDIR):$$PATH" NFCORE_NO_VERSION_CHECK=1 $(DEV) nf-core
SHELL_FILES = nextflow .ci/run containers/*.sh $(wildcard tests/*.sh)
PYTHON_FOLDERS = $(wildcard bin containers docs tests benchmarks)
OUTDIR = results
JUNIT = build/junit.xml

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

demo: ## run the whole analysis on the embedded cohort
	./nextflow run main.nf -profile test -resume --outdir $(OUTDIR)
	@echo "The report is $(abspath $(OUTDIR))/report.html: open it in a browser"
	@echo "(xdg-open $(OUTDIR)/report.html, on a Mac: open $(OUTDIR)/report.html)."

# Two workers, each file by one of them: a file's tests share what they have run.
PYTEST = $(DEV) pytest -n 2 --dist loadfile --no-loadscope-reorder --junitxml=$(JUNIT) -o junit_family=xunit2
CHECK_NONE_LOST = $(DEV) python tests/check_none_lost.py $(JUNIT)

test: test-setup ## the tests but the long ones (PYTEST_OPTIONS to choose some of all)
ifeq ($(strip $(PYTEST_OPTIONS)),)
	@echo "About 14 minutes on two quiet cores, more beside other work; make test-all runs the long tests, too."
	$(PYTEST) -m "not long"
	@$(CHECK_NONE_LOST) --without-long
else
	$(DEV) pytest $(PYTEST_OPTIONS)
endif

test-all: test-setup ## all tests, SLURM and containers included, then nf-test where it is on PATH
	@echo "About two hours on two cores, more beside other work."
	$(PYTEST)
	@$(CHECK_NONE_LOST)
	@if command -v nf-test > build/nf-test.path; then \
	    PATH="$(CURDIR):$$PATH" $(DEV) sh tests/run_nf_tests.sh; \
	else \
	    echo "nf-test is not on PATH: the nf-test files were not run"; \
	fi

coverage: test-setup ## which lines of bin the quick tests run in their own process (half as long again as make test)
	$(PYTEST) -m "not long" --cov=bin --cov-report=term

test-setup:
	@mkdir -p build
	@./nextflow -version > build/engine.txt && $(BOOTSTRAP) setup engine-lint > build/engine-lint.txt

lint: lint-python lint-types lint-shell lint-nextflow lint-nf-core ## ruff, mypy, shellcheck, strict Nextflow parser, nf-core

lint-python:
	$(DEV) ruff check $(PYTHON_FOLDERS)
	$(DEV) ruff format --check $(PYTHON_FOLDERS)

lint-types:
	$(DEV) mypy --cache-dir build/mypy

lint-shell:
	$(DEV) shellcheck $(SHELL_FILES)

lint-nextflow:
	$(BOOTSTRAP) lint main.nf nextflow.config functions subworkflows modules conf

lint-nf-core:
	$(NF_CORE) pipelines lint --dir .
	$(NF_CORE) pipelines schema lint nextflow_schema.json

image: ## build the container image with podman or docker, and write it out for other engines
	sh containers/build_image.sh

lock: ## refresh all locks and show what changed
	$(BOOTSTRAP) lock

audit: ## known holes in the packages of the image, where the list of them can be had
	$(DEV) sh containers/audit.sh

bench: ## run the benchmarks
	@if [ -x benchmarks/run ]; then $(DEV) benchmarks/run; else echo "no benchmarks/run in this version"; fi

truth: ## score the analysis against cohorts whose truth is known (TRUTH_OPTIONS: see benchmarks/truth -h)
	@$(DEV) benchmarks/truth $(TRUTH_OPTIONS)

clean: ## delete what runs and tests left in this folder (not the shared cache)
	rm -rf build work .nextflow .nextflow.log* .nextflow.pid .coverage .pytest_cache .ruff_cache
	rm -rf .hypothesis .nf-test* $(OUTDIR)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
