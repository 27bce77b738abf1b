# `make` lists what there is to do. Everything runs in .venv, which make sets up itself from any
# Python >= 3.11; `make VENV= PYTHON=python …` uses the active environment (conda, Binder) instead.
# How pages are executed, put in order and built stands in book/book.mk.

PYTHON  ?= python3
VENV    ?= .venv
EXTRAS  ?= book,test
JOBS    ?= 2
PORT    ?= 8000
# Scale of `make runs` and `make sweep`: quick, or the paper's where nothing is said. Pages have
# none: `make book` is quick, `make paper` the paper's.
PROFILE ?=

include book/book.mk

##@ Read
.PHONY: help book page paper serve pdf lab
help: ## this list (the default)
	@awk -v all="$(FIGURES)" 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  sub(/^\$$\(FIGURES\)/, "fig2") {$$0 = $$0 ": " all} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

book: $(SITE)/.done ## execute the notebooks (profile quick) and build the book
	@echo "The book is ready: open $(SITE)/index.html"

page: $(ONE_PAGE) ## execute one notebook and build a book of that page alone: PAGE=20_own_model
	$(if $(ONE_PAGE),,$(error expected PAGE to be a notebook in notebooks/, got '$(PAGE)': try make page PAGE=20_own_model))
	@echo "The page is ready: open $<"

paper: $(STAMP) ## the book at the paper's scale, or one page of it: EXPERIMENT=… (hours to days; FRESH=1: all anew; FRESH=2026-11-26: since then)
	$(check-paper)
	@$(if $(FRESH),rm -f $(or $(PAPER_PAGE),$(PAPER_RUNS)/*.ipynb))
	@$(MAKE) $(or $(PAPER_PAGE),$(PAPER_SITE)/.done) $(if $(FRESH),FRESH="$(FRESH)")
	@echo "Ready: open $(or $(PAPER_PAGE),$(PAPER_SITE)/index.html)"

serve: book ## serve the book on http://127.0.0.1:8000 (PORT=…)
	@"$(PY)" -m http.server --bind 127.0.0.1 --directory $(SITE) $(PORT)

pdf: ## the book as one PDF, from the committed outputs (needs Chromium; a few minutes)
	@$(MAKE) $(PDF) EXTRAS=$(EXTRAS),browser
	@echo "The book is ready: open $(PDF)"

lab: $(STAMP) ## work on the notebooks in JupyterLab
	@$(PIP) "$(PY)" -m pip install -q -c constraints.txt jupyterlab && "$(PY)" -m jupyterlab notebooks

##@ Check
.PHONY: check test lint bench
check: lint ## lint and the tests of the library, two minutes
	@"$(PY)" -m pytest -q tests $(LIBRARY_ONLY) -n $(JOBS) $(PYTEST_FLAGS)

test: $(TEST_SITE)/.done lint | $(FONTS) ## lint, tests, notebooks compared with a fresh run, book (EXTRAS=book,test,browser,sweep: browser and sweep too)
	@$(QUICK) $(JUPYTER) SHOOTING_SITE="$(CURDIR)/$(TEST_SITE)" SHOOTING_FIGDIR="$(CURDIR)/_build/figures/test" \
	  "$(PY)" -m pytest -q $(TESTS) -n $(JOBS) --dist loadfile $(COMPARED) $(PYTEST_FLAGS)

lint: $(STAMP) ## ruff and mypy
	@"$(PY)" -m ruff check -q .
	@"$(PY)" -m ruff format -q --check .
	@"$(PY)" -m mypy --no-error-summary
	@echo "lint: clean"

bench: $(STAMP) ## time the solves (tests/bench)
	@"$(PY)" -m pytest -q tests/bench $(PYTEST_FLAGS)

##@ Compute
.PHONY: $(FIGURES) figures notebooks reference runs verify sweep data
$(FIGURES): $(STAMP) | $(FONTS) ## a figure or table of the paper, from records, in seconds, into _build/figures
	@"$(PY)" -m shooting figure $@

figures: $(EXECUTED) ## redraw every figure of the pages into _build/figures/quick
	@mkdir -p _build/figures/quick && find _build/figures/quick -type f | sort

notebooks: $(EXECUTED) ## execute the notebooks into _build/runs/quick

reference: $(EXECUTED) ## execute the notebooks and store their outputs in notebooks/ (FEWER=1: they may have lost some)
	$(if $(NOTEBOOKS),,$(error there is no notebook in notebooks/))
	@"$(PY)" book/_tools/normalise.py --into notebooks $(EXECUTED)
	@$(MAKE) $(SUMMARIES) # they read what was just stored
	@"$(PY)" book/_tools/normalise.py --into notebooks $(SUMMARIES)
	@"$(PY)" book/_tools/measured.py --into book/times.json $(EXECUTED)
	@touch $(EXECUTED)

runs: $(STAMP) ## train at the paper's scale: EXPERIMENT=regression (ONLY=…, FRESH=1, PROFILE=quick)
	$(if $(EXPERIMENT),,$(error EXPERIMENT is missing: try make runs EXPERIMENT=regression))
	@"$(PY)" -m shooting run --experiment "$(EXPERIMENT)" --profile $(SCALE) \
	  $(if $(ONLY),--only "$(ONLY)") $(if $(OUT),--out "$(OUT)")

verify: $(STAMP) ## train a sample of committed records again and compare (SAMPLE=all)
	@"$(PY)" -m shooting verify $(if $(SAMPLE),--sample "$(SAMPLE)")

sweep: ## the same as runs, through Snakemake: EXPERIMENT=…, CLUSTER=slurm, PROFILE=quick
	@$(MAKE) sweep-run EXTRAS=$(EXTRAS),sweep

data: $(STAMP) ## fetch the test files of MNIST, for runs of source mnist-test (needs a network)
	@"$(PY)" -m shooting data "$(SHOOTING_DATA)"

##@ Look after
.PHONY: clean constraints
clean: ## remove what make built (.venv stays)
	@rm -rf _build

constraints: ## resolve all extras afresh into constraints.txt
	@rm -rf _build/pin && "$(PYTHON)" -m venv _build/pin
	@$(PIP) _build/pin/bin/python -m pip install -q ".[book,test,browser,sweep,bench]"
	@_build/pin/bin/python -m pip freeze --all > _build/pin/all.txt # not in the pipe, which hides its failure
	@{ sed -n '/^#/p' constraints.txt; cat _build/pin/all.txt \
	  | grep -vE '^(pip|shooting)\b' | sed 's/+[A-Za-z0-9.]*$$//' | tr 'A-Z_' 'a-z-'; } > _build/pin.txt
	@mv _build/pin.txt constraints.txt
