# Everything below sets up .venv first; `make demo` and `make test` are all a new checkout needs.
# Recipes are the same on Windows, run by the shell that comes with Git.
WINDOWS := $(filter Windows_NT,$(OS))
PYTHON ?= $(if $(WINDOWS),python,python3)
VENV := .venv
BIN := $(VENV)/$(if $(WINDOWS),Scripts,bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2

.PHONY: demo test check lint spelling words types layers docs benchmark build clean

demo: $(VENV)/.installed
	$(BIN)/generals-env demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS)

check: lint spelling words types layers docs

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

spelling: $(VENV)/.installed-dev
	$(BIN)/codespell

words: $(VENV)/.installed-dev
	$(BIN)/python tools/check_words.py

types: $(VENV)/.installed-dev
	$(BIN)/mypy

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# The documentation in site/; a warning is an error. The variable silences a notice of the theme about a future mkdocs.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict --quiet

benchmark: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks env engine first_use turns generals_bots buffers storage stream latency metrics capacity viewer $(BENCHMARK_OPTIONS)

# An sdist in dist/, and a wheel that is built from this sdist.
build: $(VENV)/.installed-dev
	$(BIN)/python -m build --no-isolation

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

# Pip compiles modules to bytecode one after another, with the tests of numpy and numba, which take half of the time.
$(VENV)/.installed: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(PIP) install --quiet --no-compile --editable . --constraint constraints.txt
	-$(BIN)/python -m compileall -q -j 0 -x tests $(VENV)
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet --editable ".[dev]" --constraint constraints.txt
	touch $@

clean:
	rm -rf $(VENV) .numba_cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site *.egg-info
