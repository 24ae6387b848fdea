# `make train` and `make test` do their own set-up; nothing needs to be activated.
# A CPU-only torch: make train PIP_ARGS="--extra-index-url <an index with CPU builds of torch and torchvision>"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
AUDIT := $(VENV)/audit
PIP_ARGS ?=
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help train test test-slow test-explore drill fuzz fuzz-guided soak reproduce audit lint format bench report docs tensorboard clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

train: $(STAMP)  ## Train and evaluate the default experiment of config.yaml (ARGS="experiment=... key=value")
	$(BIN)/python train.py $(ARGS)

test: $(STAMP)  ## Run the tests on two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(STAMP)  ## Run the tests that take minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

drill: $(STAMP)  ## Kill, stop, pause and starve runs of every kind at random moments (DRILL_FAULTS=150 of each, DRILL_SEED=0)
	DRILL_FAULTS=$(or $(DRILL_FAULTS),150) DRILL_SEED=$(or $(DRILL_SEED),0) DRILL_PAUSE=$(or $(DRILL_PAUSE),2) \
	  $(BIN)/python -m pytest -s -m slow tests/rl_suite/test_resume_bits.py

fuzz: $(STAMP)  ## Random input on every surface (FUZZ_CASES=10000 of each, FUZZ_SEED=0, ARGS="-k tokens" for one of them)
	FUZZ_CASES=$(or $(FUZZ_CASES),10000) $(BIN)/python -m pytest tests/fuzz/test_fuzz.py --hypothesis-profile=explore \
	  --hypothesis-seed=$(or $(FUZZ_SEED),0) $(ARGS)

fuzz-guided: $(STAMP)  ## The same, led by coverage (atheris; FUZZ_SURFACE=formulas, FUZZ_CASES=10000)
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -W ignore tests/fuzz/guided.py $(or $(FUZZ_SURFACE),formulas) -runs=$(or $(FUZZ_CASES),10000) $(ARGS)

soak: $(STAMP)  ## All worlds and kinds in one process for long: invariants, slopes of memory and open files (SOAK_MINUTES=60)
	SOAK_MINUTES=$(or $(SOAK_MINUTES),60) $(BIN)/python -m pytest -m slow tests/rl_suite/test_soak.py

reproduce: $(STAMP)  ## Every experiment twice, in processes of other hash seeds, and under other threads and processors
	$(BIN)/python -m pytest -s -m slow tests/rl_suite/test_reproducible.py

audit: $(STAMP)  ## Known holes of the pins, a bill of materials (CycloneDX) and the licences, in build/audit
	@test -x $(AUDIT)/bin/cyclonedx-py || { $(BIN)/python -m venv --clear --without-pip $(AUDIT) && $(BIN)/python -m pip \
	  --python $(AUDIT)/bin/python install -q --disable-pip-version-check -c constraints.txt pip-audit cyclonedx-bom; }
	$(BIN)/python .ci/audit $(AUDIT)/bin $(BIN)/python

test-explore: $(STAMP)  ## Look for counterexamples with other random draws each time
	$(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile=explore

lint: $(STAMP)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Measure the speed of the worlds as ratios against peers (ARGS="symbolic ..." for others)
	$(BIN)/python -m rl_suite.benchmarks $(or $(ARGS),worlds durotaxis)

report: $(STAMP)  ## Write the report of a run anew, or compare several (ARGS="runs/a/0 runs/b/0")
	$(BIN)/python -m rl_suite.report $(ARGS)

docs: $(STAMP)  ## Build the documentation as a site that works offline, build/site/index.html
	@$(BIN)/python -c 'import mkdocs, material, mkdocstrings' 2>/dev/null || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	$(BIN)/python -m rl_suite.site

tensorboard: $(STAMP)  ## Look at the runs in a browser
	$(BIN)/tensorboard --logdir runs

clean:  ## Delete the virtual environment and caches; run folders stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian without python3-venv leaves a half-built environment without pip: then borrow python3's pip.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed; name one with make PYTHON=python3.12 ...'; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || \
	  { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -q pip; } || \
	  { echo 'No virtual environment could be made: install the venv or pip package of your system python'; exit 2; }
	@echo 'installing (about 6 GB with the CUDA parts of torch, once) ...'
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@echo 'compiling what the worlds and the search for laws compute with, once (a minute or two) ...'
	$(BIN)/python -m rl_suite.warm_up
	@touch $@
