# make demo | test | test-fast | check | bench | format | clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 2

.PHONY: demo test test-fast check bench format clean
.DEFAULT_GOAL := demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp per set of extras; rebuilt when the requirements change.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[all,test,dev]"
	@touch $@ $(VENV)/.core

demo: $(VENV)/.core
	$(BIN)/python -m amodal demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

test-fast: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow"

check: $(VENV)/.test
	$(BIN)/ruff format -q --check .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_structure.py --durations=0

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks

format: $(VENV)/.test
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix --exit-zero .

clean:
	rm -rf $(VENV) build dist out .mypy_cache .pytest_cache .ruff_cache
