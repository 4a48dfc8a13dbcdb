# Two commands: `make book` and `make test`. README.md gives the plain commands behind them, for
# machines without make; tests/test_project.py holds the two together.

PYTHON ?= python3
VENV ?= .venv
bin := $(VENV)/bin

# Hides most of TensorFlow's start-up notes.
TF_CPP_MIN_LOG_LEVEL ?= 2
export TF_CPP_MIN_LOG_LEVEL

.PHONY: book test address clean

# --all: every page anew, or a second build would forgive the page that broke the first.
book: $(VENV)/.book
	$(bin)/jupyter-book build . --all -W -n --keep-going

test: $(VENV)/.test
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile --nbmake --nbmake-timeout=600

# After another address in _config.yml, or another version in pyproject.toml.
address: $(VENV)/.book
	$(bin)/python book/address.py

clean:
	rm -rf _build

# The stamps: installed once, and again when what is asked for has changed.
$(VENV)/.book: requirements.txt pyproject.toml | $(bin)/pip
	$(bin)/python -m pip install -r requirements.txt
	@touch $@

$(VENV)/.test: requirements.txt pyproject.toml | $(bin)/pip
	$(bin)/python -m pip install -e ".[test]"
	@touch $@

$(bin)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "colorseg needs Python 3.11 or newer; name one, for example: make book PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
