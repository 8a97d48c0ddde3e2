# Two commands on a fresh machine: `make autotune` and `make test`. Both make .venv first.
#
#   make autotune   install, tune the kernels for the hardware at hand, print what was gained
#   make test       install, run every test that needs no GPU
#   make lint       ruff and mypy
#   make gpu-test   the tests in tests/gpu, on a machine with a GPU
#
# PYTHON=python3.12 picks the interpreter, VENV=DIR the environment, EFFORT=standard tunes longer,
# CONSTRAINTS= (empty) installs the newest releases instead of those in constraints.txt.

PYTHON ?= python3
VENV ?= .venv
EFFORT ?= quick
CONSTRAINTS ?= constraints.txt

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest -q --durations=15
LINKS := build/lint
FOLDERS := ir schedules tuned_configs model benchmarks

.PHONY: autotune test test-core test-tvm test-triton gpu-test lint format clean

autotune: $(STAMP)
	$(BIN)/hsa-compiler autotune --effort $(EFFORT)

# Triton reads TRITON_INTERPRET when it is imported, and TVM's threads and torch's get in each
# other's way, so each has its own process.
test: $(STAMP)
	$(MAKE) --no-print-directory --output-sync=target -j2 test-core test-tvm test-triton

test-core: $(STAMP)
	$(PYTEST) tests --ignore=tests/gpu --ignore=tests/tvm --ignore=tests/cuda \
	    --ignore=tests/triton_interpret

test-tvm: $(STAMP)
	$(PYTEST) tests/tvm tests/cuda

test-triton: $(STAMP)
	TRITON_INTERPRET=1 $(PYTEST) tests/triton_interpret

gpu-test: $(STAMP)
	$(PYTEST) tests/gpu

# mypy wants one tree: links put ir/, schedules/ ... where they are imported from.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(LINKS) && mkdir -p $(LINKS)
	cp -rs "$(CURDIR)/hsa_compiler" $(LINKS)
	cd $(LINKS)/hsa_compiler && cp -rs $(addprefix "$(CURDIR)"/,$(FOLDERS)) .
	cd $(LINKS) && "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" \
		--cache-dir "$(CURDIR)/.mypy_cache" -p hsa_compiler

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Installs again only when what is to be installed has changed.
$(STAMP): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
