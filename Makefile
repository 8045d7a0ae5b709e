# `make demo` and `make test` set everything up on a machine that has Python 3.11 to 3.13 and git, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := build/demo

.PHONY: demo test test-slow check format clean

demo: $(STAMP)
	$(BIN)/seam-onnx prune models/digits/model.onnx --labels 3,8 --data models/digits/data.npz -o $(DEMO)/digits-3-8.onnx --force

# One thread a process: the networks in the tests are small, and the cores may be busy.
test test-slow: export OMP_NUM_THREADS := 1

# In the order of their names: xdist would begin with the files of most tests, and the longest have few.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile -m slow

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# uv comes from the package registry into a small environment of its own; it then builds .venv. Bytecode is made at once: where
# Python may not write it later, each process of the tests would compile all that it imports, for eight seconds.
$(STAMP): pyproject.toml
	test -x .uv/bin/uv || ($(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.5,<1")
	test -x $(BIN)/python || .uv/bin/uv venv --quiet --python $(PYTHON) $(VENV)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) .uv/bin/uv pip install --quiet --compile-bytecode --editable ".[digits,report]" --group dev
	touch $@

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
