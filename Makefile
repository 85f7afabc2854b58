# Everything a clone needs: Python 3.11, 3.12 or 3.13, make and a network.
FITS := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The newest that fits, and that runs: pyenv has names that only tell how to get such a Python.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin

.PHONY: install demo test smoke test-browser docs lint bench bench-compare torture lock sbom clean

install: .venv/installed

demo: .venv/installed
	$(BIN)/g5 train v2 experiment=demo

# A process per core, each with one thread: faster than the threads of one process. Neighbours run in one
# process, which makes what they share once.
test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# A part of the tests that is enough to see that a Python or a system will do.
smoke: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m smoke tests/cli

# The labelling page in a real Chromium; skipped where there is none.
test-browser: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser

# The documentation as a site, build/docs/index.html, without network; a warning is an error.
docs: .venv/installed
	$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees docs build/docs

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# Ten thousand generated tables and WAVs of which it is known what they hold; then 50,000 mutated files
# of every kind, load on the pages' servers, odd places, and 200 kills of every kind of job: hours. Stopped,
# `python -m tests.torture` goes on where it was; it takes parts and sizes, too (--help).
torture: .venv/installed
	G5_TABLES=10000 G5_WAV_FILES=10000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --timeout 0 \
		tests/preprocessing/test_generated_tables.py tests/preprocessing/test_containers.py
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture

bench: .venv/installed
	$(BIN)/python -m benchmarks

# make bench-compare REV=main BENCH="features training": that revision and this one in turns.
bench-compare: .venv/installed
	$(BIN)/python -m benchmarks.compare $(REV) $(BENCH)

# Every dependency at one version with its hashes; what is installed already stays.
.venv/installed: requirements.lock pyproject.toml
	@'$(PYTHON)' -c '$(FITS)' 2>/dev/null || { echo "error: g5 needs Python 3.11, 3.12 or 3.13" \
		"with venv; run make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Installing into .venv (once, about 3 GB to download) ..."
	@'$(PYTHON)' -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# After a change of the dependencies in pyproject.toml. The second file is what Linux needs without a GPU
# (docs/quickstart.md): of what CUDA's build of PyTorch brings, only what it does not start without.
COMPILE := uv pip compile --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --quiet pyproject.toml
UNUSED := triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cuda-nvrtc nvidia-cusolver nvidia-nvtx
lock:
	$(COMPILE) --extra dev --extra docs -o requirements.lock
	$(COMPILE) --constraint requirements.lock $(addprefix --no-emit-package ,$(UNUSED)) -o requirements-cpu.lock

# What the lock file installs, as CycloneDX.
sbom:
	@mkdir -p build
	@python3 .ci/sbom.py > build/sbom.json
	@echo build/sbom.json

clean:
	rm -rf .venv build dist *.egg-info
