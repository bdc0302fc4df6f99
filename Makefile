VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# two workers with one thread each: more threads than cores only wait for one another
QUICK := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -q

.PHONY: demo test test-slow lint setup clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/segfocal demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(QUICK) -m 'not slow and not gpu'

test-slow: setup
	$(QUICK) -m 'slow and not gpu'

clean:
	rm -rf build dist demo runs .pytest_cache .mypy_cache .ruff_cache
