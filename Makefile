VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# one thread per process: on shared cores, threads that wait for one another cost five times the time
SEGFOCAL := OMP_NUM_THREADS=1 $(BIN)/segfocal
QUICK := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -q

.PHONY: demo test test-slow lint setup clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	rm -rf demo
	$(SEGFOCAL) fit --config configs/train/demo.yaml --run demo/run
	$(SEGFOCAL) test --run demo/run
	$(SEGFOCAL) generate --out demo/data --kind lesions --foreground 0.02 --channels 1 --size 128 --count 4
	$(SEGFOCAL) predict --run demo/run --images demo/data/images --out demo/predictions --overlay
	$(SEGFOCAL) report demo/run --out demo/report

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
