# `make` lists the targets. Everything runs in .venv, which make sets up itself from any
# Python >= 3.11; `make VENV= PYTHON=python …` uses the active environment (conda, Binder) instead.

PYTHON  ?= python3
VENV    ?= .venv
EXTRAS  ?= book,test
PROFILE ?= quick
JOBS    ?= 2
PORT    ?= 8000

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS) --no-print-directory
endif
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

comma := ,
ifeq ($(strip $(VENV)),)
PY    := $(PYTHON)
STAMP :=
else
PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
endif

ifeq ($(filter quick paper,$(PROFILE)),)
$(error PROFILE must be quick or paper, got '$(PROFILE)': try make book, or make paper)
endif

ifeq ($(PROFILE)-$(filter reference,$(MAKECMDGOALS)),paper-reference)
$(error the reference has the quick profile: try make reference)
endif

# One thread per process, two processes: faster here than the reverse, and reproducible.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0
# Nothing trained before this moment counts; 1 is the present one
ifneq ($(FRESH),)
override FRESH := $(if $(filter 1,$(FRESH)),$(shell date -u +%Y-%m-%dT%H:%M:%S+00:00),$(FRESH))
export FRESH
endif
export TQDM_DISABLE := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# `git status`, asked for the commit of a record, leaves a lock behind when it is killed
export GIT_OPTIONAL_LOCKS := 0
# Bytecode is kept, and written for what is imported only: pip would compile all of torch first
unexport PYTHONDONTWRITEBYTECODE
# The checks on the pages are assertions, which it would switch off
unexport PYTHONOPTIMIZE
# Settings and caches of the user's own change no page; fonts are listed once, before the pages
export IPYTHONDIR := $(CURDIR)/_build/ipython
export MPLCONFIGDIR := $(CURDIR)/_build/matplotlib
FONTS := _build/matplotlib/.listed
# Where `make data` puts files that no package ships
export SHOOTING_DATA ?= $(CURDIR)/data
export SHOOTING_FIGDIR := $(CURDIR)/_build/figures/$(PROFILE)

RUNS      := _build/runs/$(PROFILE)
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
EXECUTED  := $(NOTEBOOKS:notebooks/%=$(RUNS)/%)
SUMMARIES := $(RUNS)/41_map.ipynb $(RUNS)/42_report.ipynb # they read all pages: titles, figures, errata
PACKAGE   := $(shell find shooting -name '*.py' -o -name '*.[ch]')
RECORDS   := $(shell find book/records -type f 2>/dev/null) $(wildcard book/*.yaml)
PROSE     := _config.yml $(filter-out %/normalise.py %/run_notebook.py %/pdf.py %/live_still.py,$(wildcard book/_tools/*.py)) $(shell find book -type f ! -path '*/_tools/*' ! -path '*/records/*' ! -name '.*')
SITE      := _build/html
TEST_SITE := _build/test/html
PDF       := _build/pdf/shooting.pdf
# A quick page reads committed records only, whatever else was computed on this machine.
COMMITTED_ONLY := $(if $(filter quick,$(PROFILE)),SHOOTING_STATE="$(CURDIR)/_build/state")
# Trainings asked for by name are the paper's, unless PROFILE is given
SCALE := $(if $(filter file,$(origin PROFILE)),paper,$(PROFILE))
# Quick runs take the notebooks' defaults, so that the page shows exactly what is committed.
PARAMETERS := $(if $(filter paper,$(PROFILE)),--profile paper)
# Pages that compute records at the paper's scale, and the one of EXPERIMENT; the rivals' is the ablations'
EXPERIMENT_PAGES := $(notdir $(wildcard notebooks/1?_*.ipynb))
PAGE := $(if $(EXPERIMENT),$(addprefix _build/runs/paper/,$(filter %_$(EXPERIMENT:baselines=ablations).ipynb,$(EXPERIMENT_PAGES))))
TESTS     ?= tests $(if $(NOTEBOOKS),notebooks)

##@ Read
.PHONY: help book paper serve pdf lab
help: ## this list (the default)
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

book: $(SITE)/.done ## execute the notebooks (profile quick) and build the book
	@echo "The book is ready: open $(SITE)/index.html"

paper: $(STAMP) ## the book at the paper's scale, or one page of it: EXPERIMENT=… (hours to days; FRESH=1: all anew; FRESH=2026-11-26: since then)
	$(if $(EXPERIMENT),$(if $(PAGE),,$(error no page computes '$(EXPERIMENT)': try make paper EXPERIMENT=circles)))
	@$(if $(FRESH),"$(PY)" -m shooting status --experiment circles > /dev/null) # refuses what is no moment
	@$(if $(FRESH),rm -f $(or $(PAGE),_build/runs/paper/*.ipynb))
	@$(MAKE) $(or $(PAGE),book) PROFILE=paper $(if $(FRESH),FRESH="$(FRESH)")

serve: book ## serve the book on http://127.0.0.1:8000 (PORT=…)
	@"$(PY)" -m http.server --bind 127.0.0.1 --directory $(SITE) $(PORT)

pdf: ## the book as one PDF, from the committed outputs (needs Chromium; a few minutes)
	@$(MAKE) $(PDF) EXTRAS=$(EXTRAS),browser
	@echo "The book is ready: open $(PDF)"

lab: $(STAMP) ## work on the notebooks in JupyterLab
	@"$(PY)" -m pip install -q -c constraints.txt jupyterlab && "$(PY)" -m jupyterlab notebooks

##@ Check
.PHONY: test lint bench
test: $(TEST_SITE)/.done lint | $(FONTS) ## lint, tests, notebooks compared with a fresh run, book (EXTRAS=book,test,browser,sweep: browser and sweep too)
	@$(COMMITTED_ONLY) SHOOTING_SITE="$(CURDIR)/$(TEST_SITE)" SHOOTING_FIGDIR="$(CURDIR)/_build/figures/test" \
	  "$(PY)" -m pytest -q $(TESTS) -n $(JOBS) --dist loadfile \
	  --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg $(PYTEST_FLAGS)

lint: $(STAMP) ## ruff and mypy
	@"$(PY)" -m ruff check -q .
	@"$(PY)" -m ruff format -q --check .
	@"$(PY)" -m mypy --no-error-summary
	@echo "lint: clean"

bench: $(STAMP) ## time the solves (tests/bench)
	@"$(PY)" -m pytest -q tests/bench $(PYTEST_FLAGS)

##@ Compute
.PHONY: notebooks figures reference runs verify sweep data
notebooks: $(EXECUTED) ## execute the notebooks into _build/runs/PROFILE

figures: $(EXECUTED) ## redraw every figure into _build/figures/PROFILE
	@mkdir -p "$(SHOOTING_FIGDIR)" && find "$(SHOOTING_FIGDIR)" -type f | sed "s|^$(CURDIR)/||" | sort

reference: $(EXECUTED) ## execute and store the outputs in notebooks/ as the reference
	$(if $(NOTEBOOKS),,$(error there is no notebook in notebooks/))
	@"$(PY)" book/_tools/normalise.py --into notebooks $(EXECUTED)
	@$(MAKE) $(SUMMARIES) # they read what was just stored
	@"$(PY)" book/_tools/normalise.py --into notebooks $(SUMMARIES)
	@"$(PY)" book/_tools/measured.py --into book/times.json $(EXECUTED)
	@touch $(EXECUTED)

FIGURES := fig2 fig3 fig6 fig7 fig8 fig9 fig10 fig11 tab1 tab2
.PHONY: $(FIGURES)
$(FIGURES): $(STAMP) | $(FONTS) # make fig2 … tab2: one figure or table of the paper, from records, in seconds
	@"$(PY)" -m shooting figure $@

runs: $(STAMP) ## train at the paper's scale: EXPERIMENT=regression (ONLY=…, FRESH=1, PROFILE=quick)
	$(if $(EXPERIMENT),,$(error EXPERIMENT is missing: try make runs EXPERIMENT=regression))
	@"$(PY)" -m shooting run --experiment "$(EXPERIMENT)" --profile $(SCALE) \
	  $(if $(ONLY),--only "$(ONLY)") $(if $(OUT),--out "$(OUT)")

verify: $(STAMP) ## train a sample of committed records again and compare (SAMPLE=all)
	@"$(PY)" -m shooting verify $(if $(SAMPLE),--sample "$(SAMPLE)")

data: $(STAMP) ## fetch the test files of MNIST, for runs of source mnist-test (needs a network)
	@"$(PY)" -m shooting data "$(SHOOTING_DATA)"

sweep: ## the same through Snakemake: EXPERIMENT=…, CLUSTER=slurm, PROFILE=quick
	@$(MAKE) sweep-run EXTRAS=$(EXTRAS),sweep

##@ Look after
.PHONY: clean constraints sweep-run
clean: ## remove what make built (.venv stays)
	@rm -rf _build

constraints: ## resolve all extras afresh into constraints.txt
	@rm -rf _build/pin && "$(PYTHON)" -m venv _build/pin
	@_build/pin/bin/python -m pip install -q ".[book,test,browser,sweep,bench]"
	@_build/pin/bin/python -m pip freeze --all > _build/pin/all.txt # not in the pipe, which hides its failure
	@{ sed -n '/^#/p' constraints.txt; cat _build/pin/all.txt \
	  | grep -vE '^(pip|shooting)\b' | sed 's/+[A-Za-z0-9.]*$$//' | tr 'A-Z_' 'a-z-'; } > _build/pin.txt
	@mv _build/pin.txt constraints.txt

# ---------------------------------------------------------------------------------------

sweep-run: $(STAMP)
	$(if $(EXPERIMENT),,$(error EXPERIMENT is missing: try make sweep EXPERIMENT=regression))
	@"$(PY)" -m snakemake --snakefile shooting/study/sweep/Snakefile --cores $(JOBS) \
	  --profile shooting/study/sweep/profiles/$(or $(CLUSTER),local) \
	  --config experiment="$(EXPERIMENT)" profile=$(SCALE) \
	  $(if $(ONLY),only="$(ONLY)") $(if $(OUT),out="$(OUT)") $(SWEEP_FLAGS)

ifneq ($(strip $(VENV)),)
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed, got %d.%d: try make PYTHON=python3.12 …" % sys.version_info[:2])'
	@echo "Setting up $(VENV) (once; one to three minutes)"
	@"$(PY)" -m pip --version > /dev/null 2>&1 || "$(PYTHON)" -m venv --clear "$(VENV)" # half of one is none
	@"$(PY)" -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch "$@"
endif

# Where there are many fonts, Matplotlib says so on the error channel of the page that meets them first.
$(FONTS): | $(STAMP)
	@mkdir -p $(@D) && "$(PY)" -c 'import logging; logging.disable(); import matplotlib.font_manager'
	@"$(PY)" -c 'from shooting.native import library_error as why; \
	  why() and print("Training is several times slower than it could be:", why())'
	@touch $@

$(SUMMARIES): $(NOTEBOOKS) $(wildcard book/*.md)
$(RUNS)/%.ipynb: notebooks/%.ipynb $(PACKAGE) $(RECORDS) book/_tools/run_notebook.py book/_tools/checkout.py $(STAMP) | $(FONTS)
	@$(COMMITTED_ONLY) "$(PY)" book/_tools/run_notebook.py $< $@ $(PARAMETERS)

# At the paper's scale, pages that sum up records wait for the pages that compute them.
ifeq ($(PROFILE),paper)
$(filter $(RUNS)/3% $(RUNS)/4%,$(EXECUTED)): | $(EXPERIMENT_PAGES:%=$(RUNS)/%)
ifeq ($(EXPERIMENT),)
$(RUNS)/13_ablations.ipynb: | $(RUNS)/10_regression.ipynb
endif
endif

# One recipe for three: the book from notebooks just executed, and, for the tests and for paper, from
# the committed outputs (which pytest compares with a fresh run in the same call). Figures as SVG and
# PDF belong to a fresh run. Fourth argument: environment; fifth: builder of Sphinx.
define build_book
	@rm -rf $(1)/site $(1)/_build $(2)/.done && mkdir -p $(1)/site/notebooks
	@cp -R book $(1)/site/ && rm -rf $(1)/site/book/_tools
	@$(if $(3),cp $(3) $(1)/site/notebooks/)
	@$(4) "$(PY)" -W ignore::DeprecationWarning -c 'from jupyter_book.cli.main import main; main()' build $(1)/site --path-output $(1) \
	  --config _config.yml --toc "$(CURDIR)/book/_toc.yml" -n -W --keep-going -q \
	  --builder $(or $(5),html) > /dev/null
	@rm -rf $(2) && mv $(1)/_build/$(or $(5),html) $(2) && touch $(2)/.done # until here the last good one stays
endef

$(SITE)/.done: $(EXECUTED) $(PROSE) $(STAMP)
	$(call build_book,_build/book,$(SITE),$(EXECUTED))

$(TEST_SITE)/.done: $(NOTEBOOKS) $(PROSE) $(PACKAGE) $(RECORDS) $(STAMP)
	$(call build_book,_build/test,$(TEST_SITE),$(NOTEBOOKS),SHOOTING_FIGDIR=)

# Sphinx writes the single page into the folder of its first chapter, with the addresses of the root.
$(PDF): book/_tools/pdf.py $(NOTEBOOKS) $(PROSE) $(PACKAGE) $(RECORDS) $(STAMP)
	$(call build_book,_build/pdf,_build/pdf/html,$(NOTEBOOKS),SHOOTING_FIGDIR=,singlehtml)
	@mv _build/pdf/html/book/index.html _build/pdf/html/book.html
	@"$(PY)" book/_tools/pdf.py _build/pdf/html/book.html $@
