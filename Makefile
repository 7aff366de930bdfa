# What one does with this project; `make` alone lists it.
# make setup PYTHON=/path/to/python3.12 chooses the interpreter of a new .venv.

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-oldest test-newest lint format bench bench-plan bench-profile docs lock clean distclean

# The first interpreter that really runs (a pyenv shim can be there and fail), is new enough and can make
# environments. Evaluated only when an environment has to be made.
is_usable = -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
first_usable = $(shell for p in $(1); do "$$p" $(is_usable) && { echo "$$p"; break; }; done)
PYTHON ?= $(call first_usable,python3.13 python3.12 python3.11 python3)
PYTHON_OLDEST ?= $(call first_usable,python3.11 python3.12 python3.13 python3)
PYTHON_NEWEST ?= $(call first_usable,python3.14 python3.13 python3.12)

VENV := .venv
VENV_OLDEST := .venv-oldest
VENV_NEWEST := .venv-newest
LOCK := requirements.lock
LOCK_OLDEST := requirements-oldest.lock
STAMP := $(VENV)/.amalthea-setup
STAMP_OLDEST := $(VENV_OLDEST)/.amalthea-setup
PY := $(VENV)/bin/python
PY_OLDEST := $(VENV_OLDEST)/bin/python
PIP_INSTALL := -m pip --disable-pip-version-check install -qq --no-input

PYTEST_ARGS ?= -n 2
PYTEST_ARGS_OLDEST ?= -n 2 -m "not slow"

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target text; do \
	  printf '  make %-14s %s\n' "$$target" "$$text"; done

# $(call make_venv,DIRECTORY,INTERPRETER,NAME OF ITS VARIABLE): keeps a healthy environment, makes any other anew
define make_venv
@if ! $(1)/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
  if ! "$(2)" $(is_usable); then \
    echo 'Amalthea needs Python 3.11 or newer, with its venv module; $(if $(2),`$(2)` is not that or does not run,python3.13 python3.12 python3.11 and python3 are missing or fail or are older).' >&2; \
    echo 'Install one, or name one: make $(3)=/path/to/python3.11 $(MAKECMDGOALS)' >&2; \
    exit 1; \
  fi; \
  echo "making $(1) with $(2)"; \
  "$(2)" -m venv --clear $(1); \
fi
endef

# A stamp holds the path it was made for: an environment that was copied or moved is installed again.
moved = $(if $(filter-out $(1):$(CURDIR),$(1):$(shell cat $(1) 2>/dev/null)),$(1))
.PHONY: $(call moved,$(STAMP)) $(call moved,$(STAMP_OLDEST))

setup: $(STAMP)  ## make .venv with everything to use and test; quick when nothing changed
	@:

$(STAMP): pyproject.toml $(LOCK) src/amalthea-backend.pth
	$(call make_venv,$(VENV),$(PYTHON),PYTHON)
	@echo 'installing into $(VENV): some minutes the first time'
	@$(PY) $(PIP_INSTALL) -c $(LOCK) -e '.[dev,docs]'
	@echo '$(CURDIR)' > $@

$(STAMP_OLDEST): pyproject.toml $(LOCK_OLDEST) src/amalthea-backend.pth
	$(call make_venv,$(VENV_OLDEST),$(PYTHON_OLDEST),PYTHON_OLDEST)
	@echo 'installing into $(VENV_OLDEST): some minutes the first time'
	@$(PY_OLDEST) $(PIP_INSTALL) -c $(LOCK_OLDEST) -e '.[test]'
	@echo '$(CURDIR)' > $@

demo: setup  ## tune a Keras model on the iris data
	@$(PY) examples/iris_grid_search.py

test: lint  ## lint, then run all tests (PYTEST_ARGS="-n 2")
	$(PY) -m pytest $(PYTEST_ARGS)

test-oldest: $(STAMP_OLDEST)  ## run the quick tests on the oldest versions supported
	$(PY_OLDEST) -m pytest $(PYTEST_ARGS_OLDEST)

test-newest:  ## run all tests on the newest versions there are (PYTHON_NEWEST=/path/to/python3.13)
	@test -n "$(PYTHON_NEWEST)" || { echo 'The newest versions want Python 3.12: make PYTHON_NEWEST=/path/to/python3.13 test-newest' >&2; exit 1; }
	$(call make_venv,$(VENV_NEWEST),$(PYTHON_NEWEST),PYTHON_NEWEST)
	@$(VENV_NEWEST)/bin/python $(PIP_INSTALL) --upgrade --upgrade-strategy eager -e '.[test]'
	$(VENV_NEWEST)/bin/python -m pytest $(PYTEST_ARGS)

lint: setup  ## ruff and mypy
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

format: setup  ## let ruff rewrite imports and layout
	$(PY) -m ruff check --select I --fix
	$(PY) -m ruff format

BENCH_RUN = $(PY) bench/run.py $(if $(BENCH),--mode $(BENCH)) $(if $(RUNS),--runs $(RUNS))

bench: setup  ## compare with the peers (BENCH=quick, WORKLOADS="tutorial images", RUNS=5)
	$(BENCH_RUN) $(WORKLOADS)

bench-plan: setup  ## list what such a `make bench` would measure, and how long it took last time
	@$(BENCH_RUN) --plan $(WORKLOADS)

bench-profile: setup  ## where Amalthea's own time goes, with a flame graph (WORKLOADS="pipeline")
	$(PY) bench/run.py --profile $(or $(WORKLOADS),pipeline)

docs: setup  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

# Made with the oldest Python supported, since its versions are those that the newer ones can install too.
lock:  ## choose the newest versions again and write requirements.lock
	$(call make_venv,build/lock-venv,$(PYTHON_OLDEST),PYTHON_OLDEST)
	@build/lock-venv/bin/python $(PIP_INSTALL) -e '.[dev,docs]'
	@{ sed -n '/^#/p' $(LOCK); build/lock-venv/bin/python -m pip freeze --exclude-editable | LC_ALL=C sort -f; } > build/lock
	@mv build/lock $(LOCK)
	@rm -rf build/lock-venv && rmdir build 2>/dev/null || true
	@echo 'wrote $(LOCK)'

clean:  ## remove what was built and the caches of the tools; keep the environments
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean  ## remove the environments too
	rm -rf $(VENV) $(VENV_OLDEST) $(VENV_NEWEST) bench/.environments
