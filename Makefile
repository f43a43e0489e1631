# make demo | test | check: each sets up .venv first. PYTHON=python3.12 chooses the interpreter.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
UV     := $(VENV)/setup/bin/uv

.PHONY: setup demo test test-slow lint types check fidelity clean
.DEFAULT_GOAL := help

help:
	@echo "make setup   the package, its weights, optional engines and the development tools in $(VENV)"
	@echo "make demo    upscale the bundled clip by 4 with esrgan: out/demo.mp4 and a before/after picture"
	@echo "make test    the quick tests (2 cores: minutes)"
	@echo "make check   lint + types + all tests: what CI runs"
	@echo "make fidelity   what is kept of every kind of file that the tests make: docs/fidelity.md"

setup: $(VENV)/.done

# uv lives in a small environment of its own, so that $(VENV) holds nothing but the project
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vsr needs Python 3.11 to 3.13; choose one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)/setup
	$(VENV)/setup/bin/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.done: pyproject.toml constraints.txt Makefile | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --compile-bytecode --constraints constraints.txt --group dev --editable '.[all]'
	@touch $@

demo: setup
	$(BIN)/python examples/demo.py

test: setup
	$(BIN)/python -m pytest -m 'not slow'

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

check: lint types
	$(BIN)/python -m pytest --durations=15

fidelity: setup
	$(BIN)/python -m benchmarks.fidelity

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
