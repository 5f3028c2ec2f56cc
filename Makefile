# make demo: the whole pipeline on the built-in recipe.  make test: the whole suite.  Both set up what they need.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WORKSPACE ?= demo
# empty, so that compiled modules are kept: without them each process compiles torch anew, which triples its start
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test lint docs lowest setup demo-setup oracles exports clean

# what the demo needs: the package and the libraries of the report
demo-setup: $(VENV)/.demo-ready

$(VENV)/.demo-ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[report]'
	touch $@

# tests, lint and docs besides
setup: $(VENV)/.ready

$(VENV)/.ready: $(VENV)/.demo-ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[report,test,lint,docs]'
	touch $@

# a published system and the crnn at two SNRs of `mini`: runs go side by side, one on each core
demo: demo-setup
	$(BIN)/remixbench --workspace $(WORKSPACE) make --recipe mini --snr 0 20
	$(BIN)/remixbench --workspace $(WORKSPACE) train --system gap crnn --epochs 12
	$(BIN)/remixbench --workspace $(WORKSPACE) score > $(WORKSPACE)/scores.txt
	$(BIN)/remixbench --workspace $(WORKSPACE) report
	@cat $(WORKSPACE)/scores.txt
	@echo "micro-AP is the average precision over all pairs of clip and class; chance is the share of pairs that are true."
	@echo "At 20 dB the events are far louder than the scene, at 0 dB as loud. The sounds are synthesised: these numbers"
	@echo "mean nothing outside mini. The page with curves and clips to play: $(WORKSPACE)/leaderboard/mini.html"

# as many files of tests at once as there are cores, each with one thread, and with worker processes only where a test
# asks for them; those with slow tests first (tests/conftest.py)
test: setup
	OMP_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup
	$(BIN)/sphinx-build -q -W docs site

# part of the suite with the lowest versions that pyproject.toml allows; needs Python 3.11
lowest:
	PYTHON=$(PYTHON) sh tests/lowest/run.sh .venv-lowest

# the field's own scorers, which need older libraries; the tests that compare with them skip without it
oracles: .venv-oracles/.ready

.venv-oracles/.ready: tests/oracles/requirements.txt tests/oracles/setup.sh
	PYTHON=$(PYTHON) sh tests/oracles/setup.sh .venv-oracles
	touch $@

# the libraries that read exported data sets; the tests that compare with them skip without it
exports: .venv-exports/.ready

.venv-exports/.ready: tests/exports/requirements.txt tests/exports/setup.sh
	PYTHON=$(PYTHON) sh tests/exports/setup.sh .venv-exports

clean:
	rm -rf $(VENV) .venv-oracles .venv-exports .venv-lowest build dist site
