# The two commands of a newcomer are `make demo` and `make test`; `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test axe check bench serve sandbox torture lock clean
.DEFAULT_GOAL := help

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

# Hashes are checked for every package; the project itself is installed in place, without its dependencies.
$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Qaqpa needs Python 3.11 or newer: run make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)  ## run the shipped sample through the real code path and verify the ledger
	@$(BIN)/qaqpa demo

test: $(READY)  ## run all tests
	@$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

AXE := axe-core@4.14.1

axe:  ## what the tests of accessibility take beside Chromium, from the npm registry
	@npm install --prefix build/axe --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --silent $(AXE)

serve: $(READY)  ## the online service beside stand-ins of the third parties, with tokens to try it
	@$(BIN)/qaqpa serve --sandbox

sandbox: $(READY)  ## run stand-ins of the third parties, to try commands against
	@$(BIN)/qaqpa sandbox

check: $(READY)  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)  ## measure; writes build/bench.json
	@PYTHONPATH=tests $(BIN)/python tests/bench

torture: $(READY)  ## kill -9 the demo at 50 random instants and compare what was received with the ledger
	@QAQPA_KILLS=50 $(BIN)/pytest tests/torture -p no:xdist --timeout=1800

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

lock:  ## make both locks anew (needs uv on the PATH): run.txt for production, dev.txt with tests and stand-ins
	$(COMPILE) --upgrade pyproject.toml -o requirements/run.txt
	$(COMPILE) --upgrade --all-extras pyproject.toml requirements/dev.in -c requirements/run.txt -o requirements/dev.txt

clean:  ## remove what was built or installed
	rm -rf .venv build dist
