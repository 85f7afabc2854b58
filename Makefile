# Everything a clone needs: Python 3.11, make and a network.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test test-browser lint bench lock clean

demo: .venv/installed
	$(BIN)/g5 train v2 experiment=demo

# A process per core, each with one thread: faster than the threads of one process.
test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

# The labelling page in a real Chromium; skipped where there is none.
test-browser: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/python -m benchmarks

# Every dependency at one version with its hashes; what is installed already stays.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "error: g5 needs Python 3.11; run make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into .venv (once, about 3 GB to download) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# After a change of the dependencies in pyproject.toml.
lock:
	uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --quiet pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build dist *.egg-info
