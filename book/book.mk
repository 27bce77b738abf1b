# How the pages are executed, put in order and built, and the environment in which everything runs.
# The Makefile beside the README includes this file and has the commands.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS) --no-print-directory
endif
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

# --- scales ----------------------------------------------------------------------------------

# Trainings asked for by name are the paper's, unless PROFILE says otherwise.
SCALE := $(or $(PROFILE),paper)
ifeq ($(filter quick paper,$(SCALE)),)
$(error PROFILE must be quick or paper, got '$(PROFILE)': try make runs EXPERIMENT=regression PROFILE=quick)
endif
ifneq ($(and $(filter paper,$(PROFILE)),$(filter book figures notebooks page reference serve,$(MAKECMDGOALS))),)
$(error pages have no PROFILE: make book is quick, make paper has the paper's scale)
endif

# --- the environment -------------------------------------------------------------------------

comma := ,
ifeq ($(strip $(VENV)),)
PY    := $(PYTHON)
STAMP :=
else
PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed, got %d.%d: try make PYTHON=python3.12 …" % sys.version_info[:2])'
	@echo "Setting up $(VENV) (once; one to three minutes)"
	@"$(PY)" -m pip --version > /dev/null 2>&1 || "$(PYTHON)" -m venv --clear "$(VENV)" # half of one is none
	@$(PIP) "$(PY)" -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch "$@"
endif

# What is set or configured for pip elsewhere must not lead its packages past the environment
PIP := PIP_USER=0 PIP_TARGET= PIP_PREFIX= PIP_ROOT= PIP_NO_DEPS=0 PIP_DRY_RUN=0
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
unexport PYTHONSTARTUP PYTHONWARNINGS PYTHONINSPECT PYTHONDEVMODE MPLBACKEND MATPLOTLIBRC
export IPYTHONDIR := $(CURDIR)/_build/ipython
export MPLCONFIGDIR := $(CURDIR)/_build/matplotlib
# nbval starts kernels too; JupyterLab keeps what its user has set
JUPYTER := JUPYTER_CONFIG_DIR="$(CURDIR)/_build/jupyter" JUPYTER_DATA_DIR="$(CURDIR)/_build/jupyter" \
  JUPYTER_PATH= JUPYTER_NO_CONFIG=1
# Where `make data` puts files that no package ships, and `make fig2` its figure
export SHOOTING_DATA ?= $(CURDIR)/data
export SHOOTING_FIGDIR ?= $(CURDIR)/_build/figures

# Where there are many fonts, Matplotlib says so on the error channel of the page that meets them first.
FONTS := _build/matplotlib/.listed
$(FONTS): | $(STAMP)
	@mkdir -p $(@D) && "$(PY)" -c 'import logging; logging.disable(); import matplotlib.font_manager'
	@"$(PY)" -c 'from shooting.native import library_error as why; \
	  why() and print("Training is several times slower than it could be:", why())'
	@touch $@

# --- executed pages --------------------------------------------------------------------------

FIGURES := fig2 fig3 fig6 fig7 fig8 fig9 fig10 fig11 tab1 tab2

NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
PACKAGE   := $(shell find shooting -name '*.py' -o -name '*.[ch]')
RECORDS   := $(shell find book/records -type f 2>/dev/null) $(wildcard book/*.yaml)
RUN       := book/_tools/run_notebook.py
BEHIND    := $(PACKAGE) $(RECORDS) $(RUN) $(addprefix book/_tools/,checkout.py outputs.py) $(STAMP)

# A quick page reads committed records only, whatever else was computed on this machine, and takes
# the notebook's defaults, so that it shows exactly what is committed.
QUICK      := SHOOTING_STATE="$(CURDIR)/_build/state" SHOOTING_FIGDIR="$(CURDIR)/_build/figures/quick"
QUICK_RUNS := _build/runs/quick
EXECUTED   := $(NOTEBOOKS:notebooks/%=$(QUICK_RUNS)/%)
$(QUICK_RUNS)/%.ipynb: notebooks/%.ipynb $(BEHIND) | $(FONTS)
	@$(QUICK) "$(PY)" $(RUN) $< $@ $(if $(FEWER),--fewer)

PAPER      := SHOOTING_FIGDIR="$(CURDIR)/_build/figures/paper"
PAPER_RUNS := _build/runs/paper
AT_SCALE   := $(NOTEBOOKS:notebooks/%=$(PAPER_RUNS)/%)
$(PAPER_RUNS)/%.ipynb: notebooks/%.ipynb $(BEHIND) | $(FONTS)
	@$(PAPER) "$(PY)" $(RUN) $< $@ --profile paper

# They read all pages: titles, figures, errata.
SUMMARIES := $(QUICK_RUNS)/41_map.ipynb $(QUICK_RUNS)/42_report.ipynb
$(SUMMARIES) $(SUMMARIES:$(QUICK_RUNS)/%=$(PAPER_RUNS)/%): $(NOTEBOOKS) $(wildcard book/*.md)

# At the paper's scale a page that gathers records by its profile computes those that are missing;
# pages that only read them wait for it.
gathers     = $(notdir $(shell grep -l 'records.gather(.$(1)., profile)' notebooks/*.ipynb))
COMPUTING  := $(call gathers,.*)
READING    := 19_speed.ipynb 40_claims.ipynb 41_map.ipynb 42_report.ipynb
$(READING:%=$(PAPER_RUNS)/%): | $(COMPUTING:%=$(PAPER_RUNS)/%)
ifeq ($(EXPERIMENT),)
$(PAPER_RUNS)/14_ablations.ipynb $(PAPER_RUNS)/11_convex_trap.ipynb: | $(PAPER_RUNS)/10_regression.ipynb
endif

# The page of EXPERIMENT; what `make paper` is asked for is checked before anything is removed.
PAPER_PAGE := $(if $(EXPERIMENT),$(addprefix $(PAPER_RUNS)/,$(call gathers,"$(EXPERIMENT).)))
define check-paper
$(if $(EXPERIMENT),$(if $(PAPER_PAGE),,$(error no page computes '$(EXPERIMENT)': try make paper EXPERIMENT=circles)))
@$(if $(FRESH),"$(PY)" -m shooting status --experiment circles > /dev/null) # refuses what is no moment
endef

# --- tests and sweeps ------------------------------------------------------------------------

LIBRARY_ONLY := $(addprefix --ignore=tests/,study book browser)
TESTS ?= tests $(if $(NOTEBOOKS),notebooks)
COMPARED := --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg

.PHONY: sweep-run
sweep-run: $(STAMP)
	$(if $(EXPERIMENT),,$(error EXPERIMENT is missing: try make sweep EXPERIMENT=regression))
	@"$(PY)" -m snakemake --snakefile shooting/study/sweep/Snakefile --cores $(JOBS) \
	  --profile shooting/study/sweep/profiles/$(or $(CLUSTER),local) \
	  --config experiment="$(EXPERIMENT)" profile=$(SCALE) \
	  $(if $(ONLY),only="$(ONLY)") $(if $(OUT),out="$(OUT)") $(SWEEP_FLAGS)

# --- the book --------------------------------------------------------------------------------

PROSE := _config.yml $(shell find book -type f ! -path '*/_tools/*' ! -path '*/records/*' ! -name '.*' ! -name '*.mk') \
  $(filter-out %/normalise.py %/run_notebook.py %/outputs.py %/pdf.py %/live_still.py %/relations.py,$(wildcard book/_tools/*.py))
SITE       := _build/html
PAPER_SITE := _build/paper/html
TEST_SITE  := _build/test/html
PDF        := _build/pdf/shooting.pdf

# One recipe for all: the book from notebooks just executed, and, for the tests and for paper, from
# the committed outputs (which pytest compares with a fresh run in the same call). Figures as SVG and
# PDF belong to a fresh run. Arguments: where to build, the site, notebooks, environment, builder.
TOC    := $(CURDIR)/book/_toc.yml
STRICT := -n -W --keep-going
define build-book
@rm -rf $(1)/site $(1)/_build $(2)/.done && mkdir -p $(1)/site/notebooks
@cp -R book $(1)/site/ && rm -rf $(1)/site/book/_tools
@$(if $(3),cp $(3) $(1)/site/notebooks/)
@$(4) "$(PY)" -W ignore::DeprecationWarning -c 'from jupyter_book.cli.main import main; main()' build $(1)/site --path-output $(1) \
  --config _config.yml --toc "$(TOC)" $(STRICT) -q --builder $(or $(5),html) > /dev/null
@rm -rf $(2) && mv $(1)/_build/$(or $(5),html) $(2) && touch $(2)/.done # until here the last good one stays
endef

$(SITE)/.done: $(EXECUTED) $(PROSE) $(STAMP)
	$(call build-book,_build/book,$(SITE),$(EXECUTED),$(QUICK))

$(PAPER_SITE)/.done: $(AT_SCALE) $(PROSE) $(STAMP)
	$(call build-book,_build/paper,$(PAPER_SITE),$(AT_SCALE),$(PAPER))

$(TEST_SITE)/.done: $(NOTEBOOKS) $(PROSE) $(PACKAGE) $(RECORDS) $(STAMP)
	$(call build-book,_build/test,$(TEST_SITE),$(NOTEBOOKS),SHOOTING_FIGDIR=)

# Sphinx writes the single page into the folder of its first chapter, with the addresses of the root.
$(PDF): book/_tools/pdf.py $(NOTEBOOKS) $(PROSE) $(PACKAGE) $(RECORDS) $(STAMP)
	@"$(PY)" book/_tools/pdf.py # before minutes of building
	$(call build-book,_build/pdf,_build/pdf/html,$(NOTEBOOKS),SHOOTING_FIGDIR=,singlehtml)
	@mv _build/pdf/html/book/index.html _build/pdf/html/book.html
	@"$(PY)" book/_tools/pdf.py _build/pdf/html/book.html $@

# One page and the literature as a book of their own, so that citations are right. Links to other
# pages lead nowhere: what Sphinx says of them is dropped, and its other warnings are no errors.
ONE_PAGE := $(patsubst notebooks/%.ipynb,_build/page/html/notebooks/%.html,$(wildcard notebooks/$(PAGE).ipynb))
ifneq ($(ONE_PAGE),)
.PHONY: $(ONE_PAGE)
$(ONE_PAGE): TOC := $(CURDIR)/_build/page/_toc.yml
$(ONE_PAGE): STRICT := 2> >(grep -vE "unknown document|undefined label|label '.*' not found" >&2)
$(ONE_PAGE): $(QUICK_RUNS)/$(PAGE).ipynb
	@mkdir -p _build/page && printf '%s\n' 'format: jb-book' 'root: notebooks/$(PAGE)' \
	  'chapters: [{file: book/bibliography}]' > "$(TOC)"
	$(call build-book,_build/page,_build/page/html,$<,$(QUICK))
endif
