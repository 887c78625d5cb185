# Hive: every target sets up what it needs. `make help` lists them.
VENV := .venv
BIN  := $(VENV)/bin
READY := $(VENV)/ready
ALL := $(VENV)/ready-for-all

# Most tests wait for workers and leases; side by side they wait together.
SIDE_BY_SIDE := -n 5 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install install-all demo test coverage quick check lowest lock faults attacks bench docs dist up down worker clean

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY)  ## Set Hive up in .venv for LiDAR and terrain: Python packages, redis-server, PDAL

install-all: $(ALL)  ## Set up every capability, and what the tests need

$(READY): pyproject.toml uv.lock tools/install.sh tools/install_pdal.sh
	tools/install.sh $(VENV)
	@touch $@

$(ALL): pyproject.toml uv.lock tools/install.sh tools/install_pdal.sh
	tools/install.sh $(VENV) all
	@touch $(READY) $@

demo: $(READY)  ## Turn a real LiDAR tile into a terrain model, through a real queue and worker
	tools/demo.sh $(BIN)

test: check  ## Run all tests with the real parts: Redis, Celery workers, PDAL
	$(BIN)/pytest $(SIDE_BY_SIDE)

coverage: $(ALL)  ## Run all tests and measure which lines of hive run; below 90 % it fails
	rm -rf .coverage.d
	$(BIN)/pytest $(SIDE_BY_SIDE) --cov --cov-report=term:skip-covered

quick: $(ALL)  ## Run the tests of single functions, which need no server: a minute
	$(BIN)/pytest -q -n 2 tests/unit hive workers

check: $(ALL)  ## Check style, types, layers, shell scripts and words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck $$(git ls-files '*.sh' .ci/run)
	$(BIN)/codespell
	$(BIN)/python tools/words.py hive workers examples docs README.md ARCHITECTURE.md CONTRIBUTING.md SECURITY.md

lowest: $(ALL)  ## Run the tests that touch each dependency with the lowest versions that pyproject.toml allows
	tools/lowest.sh

lock: $(ALL)  ## Write the versions that `make install` takes to uv.lock, as new as pyproject.toml allows
	$(BIN)/uv lock --upgrade

faults: $(ALL)  ## Inject every fault as long and as often as promised, and run the long tests; prints a table
	$(BIN)/pytest tests/faults --full --table docs/faults.md
	$(BIN)/pytest -m full --full --ignore=tests/faults -n 2 --dist loadfile

bench: $(ALL)  ## Measure beside plain Celery, nginx and scripts: start-up, throughput, files, map, tasks, idle cost
	$(BIN)/python tools/bench.py
	$(BIN)/python -m tools.bench_throughput
	$(BIN)/python -m tools.bench_files
	$(BIN)/python -m tools.bench_memory
	$(BIN)/python -m tools.bench_map
	$(BIN)/python -m tools.bench_tasks
	$(BIN)/python -m tools.bench_idle --workers 4 12 50 --jobs-seen 50000

attacks: $(ALL)  ## Try every attack that Hive promises to refuse; writes the table
	HIVE_ATTACKS_PAGE=docs/attacks.md $(BIN)/pytest tests/attacks

docs: $(ALL)  ## Write docs/reference.md from signatures and --help, and build the site; a broken link fails
	$(BIN)/python tools/reference.py docs/reference.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html"

dist: $(ALL)  ## Build a wheel that needs nothing else of this folder
	rm -rf dist build
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist

up: $(READY)  ## Start the Mac side here
	$(BIN)/hive up

down: $(READY)  ## Stop the Mac side here
	$(BIN)/hive down

worker: $(READY)  ## Start a worker here; serves gis unless WORKER_CAPABILITIES says otherwise
	WORKER_CAPABILITIES="$${WORKER_CAPABILITIES:-gis}" $(BIN)/hive worker

clean:  ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info demo-output site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
