# make demo | test | test-fast | test-core | test-lowest | check | docs | bench | bench-gpu | wheel | format | clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 2
# Threads that wait sleep: beside other work on the same cores, spinning ones make small networks five times slower.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test test-fast test-core test-lowest check docs bench bench-gpu wheel format clean
.DEFAULT_GOAL := demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp per set of extras; rebuilt when the requirements change.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[all,test,dev,docs]"
	@touch $@ $(VENV)/.core

demo: $(VENV)/.core
	$(BIN)/python -m amodal demo

# Everything is installed, so no test may be skipped for want of a package. Files of tests go to a process a core, of one thread each.
test test-fast: export OMP_NUM_THREADS := 1
test test-fast: TESTS := $(BIN)/python -m pytest --complete --numprocesses auto --maxprocesses 4 --dist loadfile

test: $(VENV)/.test
	$(TESTS)

test-fast: $(VENV)/.test
	$(TESTS) -m "not slow"

# The fast tests where nothing but the light package is installed: what needs an extra skips.
test-core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-core
	$(VENV)-core/bin/python -m pip install -q -c constraints.txt -e . pytest hypothesis "setuptools>=77"
	$(VENV)-core/bin/python -m pytest -m "not slow"

# The fast tests with the lowest versions that pyproject.toml allows (without torch, whose oldest build weighs gigabytes).
test-lowest: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install -q uv
	$(VENV)-lowest/bin/uv pip install -q --python $(VENV)-lowest/bin/python --resolution lowest-direct -e ".[serve,scenes,parquet,test]" "setuptools>=77"
	$(VENV)-lowest/bin/python -m pytest -m "not slow"

check: $(VENV)/.test
	$(BIN)/ruff format -q --check .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_structure.py --durations=0
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q --strict

# The site, into build/site; any warning (a link that leads nowhere, a page outside of the navigation) is an error.
docs: $(VENV)/.test
	$(BIN)/python -m benchmarks.tables --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q --strict

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks

# Everything that only a GPU can say, in under nine minutes; each part saves its JSON under benchmarks/results/gpu as it ends.
bench-gpu: $(VENV)/.test
	$(BIN)/python -m benchmarks.gpu

wheel: $(VENV)/.test
	$(BIN)/python -m pip wheel -q --no-deps -w dist .

format: $(VENV)/.test
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix --exit-zero .

clean:
	rm -rf $(VENV) $(VENV)-core $(VENV)-lowest build dist out .mypy_cache .pytest_cache .ruff_cache
