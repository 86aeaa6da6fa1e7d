# make run: set everything up and start the orchestrator with the demo. make test: set everything up and test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8741
# What tests import is not worth a network round trip each time: set up again only when the dependencies change.
STAMP := $(VENV)/.installed

.PHONY: run test test-postgres soak bench lint docs compare lock

run: $(STAMP)
	$(BIN)/edgewright up --port $(PORT)

test: $(STAMP)
	$(BIN)/pytest

# What the orchestrator does with PostgreSQL instead of SQLite, on a server that the tests start.
test-postgres: $(STAMP)
	$(BIN)/pytest tests/service --database postgres

# Kill the orchestrator 200 times under a stream of writes: nothing may be lost.
soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py --kills 200

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

compare: $(STAMP)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet -c constraints.txt -e '.[compare]'

bench: compare
	$(BIN)/python benchmarks/run.py

docs: $(STAMP)
	$(BIN)/mkdocs build --strict --site-dir site

# Pin what is installed now; run in a fresh environment after changing dependencies.
lock: $(STAMP)
	$(BIN)/pip freeze --exclude-editable --exclude edgewright | grep -viE '^(torch|stable.baselines3|nvidia|triton|setuptools|pip)' > constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "edgewright needs Python >= 3.11; name one with: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,postgres]'
	touch $(STAMP)
