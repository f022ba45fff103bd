# Two commands do all the set-up: `make lab` and `make test`. Both keep everything in .venv and reuse it.
SHELL   := /bin/sh
PYTHON  ?= python3
VENV    := .venv
PY      := $(VENV)/bin/python
LAB_ARGS ?=
PYTEST_ARGS ?=
PORT    ?= 8000
FIRST   := book/chapters/00-start-here.ipynb
NOTEBOOKS ?= book/chapters solutions
PINS    := pyproject.toml constraints.txt
QUIET   := $(VENV)/share/jupyter/lab/settings
KERNELS := $(shell find qtoolkit/kernels/csrc -type f)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help lab test site serve bench refresh clean
help:
	@echo "make lab      open JupyterLab on the course (LAB_ARGS=... is passed on to it)"
	@echo "make test     run every test: package, notebooks, widgets, site"
	@echo "make site     build the Jupyter Book into book/_build/html"
	@echo "make serve    build the site and serve it on http://127.0.0.1:$(PORT)"
	@echo "make bench    time the kernels against their best peers on this machine"
	@echo "make refresh  re-execute the notebooks and store their outputs (NOTEBOOKS=path for one)"
	@echo "make clean    remove .venv and everything built (downloaded data stay)"

# JupyterLab hides the figures and widgets of notebooks that it did not see run, unless they are signed.
lab: $(VENV)/.course
	-@$(PY) -m jupyter trust book/chapters/*.ipynb > /dev/null
	$(PY) -m jupyter lab --allow-root --LabApp.default_url=/lab/tree/$(FIRST) $(LAB_ARGS)

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(PY) -m pytest -p tests.lean_imports tests qtoolkit book/chapters solutions --doctest-modules --ignore-glob='*/checks.py' \
	  --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 300 \
	  -n 2 --dist loadfile $(PYTEST_ARGS)

site: $(VENV)/.course
	$(PY) -m qtoolkit.lab.site

serve: site
	$(PY) -m http.server --bind 127.0.0.1 --directory book/_build/html $(PORT)

bench: $(VENV)/.test
	$(VENV)/bin/qt bench

refresh: $(VENV)/.course
	$(PY) -m qtoolkit.lab.refresh $(NOTEBOOKS)

clean:
	rm -rf $(VENV) build book/_build

# A stamp is touched only after its step has succeeded, so an interrupted set-up is simply taken up again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The course needs Python 3.11 or newer; '$(PYTHON)' is older or missing."; \
	  echo "Name another one: make PYTHON=python3.12 lab"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
	  echo "Python could not make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@mkdir -p $(QUIET) && echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' > $(QUIET)/overrides.json
	@touch $@

$(VENV)/.course: $(VENV)/.created $(PINS) $(KERNELS)
	@echo "Installing the course into $(VENV): about 2 GB, once."
	$(PY) -m pip install -c constraints.txt -e '.[course]'
	@touch $@

$(VENV)/.test: $(VENV)/.created $(PINS) $(KERNELS)
	@echo "Installing the course and what its tests compare it with into $(VENV): about 2 GB, once."
	$(PY) -m pip install -c constraints.txt -e '.[course,classroom,oracles,test]'
	@touch $@ $(VENV)/.course
