# Everything runs in .venv, which the stamp file below builds on first use: a fresh machine needs Python 3.12 and make.
# That is also the only step that uses the network.

PYTHON ?= python3.12
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help ready demo test check stress fuzz mutants cpython coexist bench costs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ready ## draw the Mandelbrot set interpreted and compiled, and explain what was compiled
	$(BIN)/python examples/demo.py

test: ready ## run the tests
	$(BIN)/python -m pytest

check: ready ## lint, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 0 tests/test_layering.py

SECONDS = 60

stress: ready ## run the slow tests, the storm among them: make stress SECONDS=1800
	STORM_SECONDS=$(SECONDS) $(BIN)/python -m pytest -m slow --timeout $$(($(SECONDS) * 3 + 1800)) -o faulthandler_timeout=0

N = 10000
FIRST = 0
STRESS = mixed

fuzz: ready ## compare N random programs interpreted and compiled: make fuzz N=100000 STRESS=exits:7 FIRST=0
	$(BIN)/python tests/oracle/fuzz.py $(N) --first $(FIRST) --stress '$(STRESS)'

mutants: ready ## which random program finds which planted bug
	$(BIN)/python tests/oracle/mutants.py

cpython: ready ## run CPython's own tests with MINIJIT=1 and with everything hot, and compare test by test
	$(BIN)/python tests/whole/cpython_suite.py

coexist: ready ## install what programs use and run them with MINIJIT=1: gevent, dask, numpy, IPython, ...
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[coexist]'
	$(BIN)/python -m pytest tests/whole/test_coexisting.py

bench: ready ## compare with the interpreter and with whichever of numba, gcc, pypy3, luajit are installed
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/calls.py
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/classes.py

costs: ready ## what MINIJIT=1 costs where there is nothing to gain: starts, imports, pyperformance; hours
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[costs]'
	$(BIN)/python benchmarks/costs.py

clean: ## remove caches and everything generated, but not .venv
	rm -rf build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# As pip does it for what it does not install to be edited: without byte code each process would compile all of it again
# where PYTHONDONTWRITEBYTECODE is set.
ready: $(READY)
	@$(BIN)/python -m compileall -q src tests

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,examples]'
	@touch $@
