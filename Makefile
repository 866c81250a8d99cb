HOST ?= 127.0.0.1
PORT ?= 8000
PYTHON := .venv/bin/python
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal
PYTHONS := python3.13 python3.12 python3.11 python3

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check faults endurance bench docs lock clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: .venv/installed-demo ## Serve the demo on http://HOST:PORT/ (HOST=127.0.0.1 PORT=8000)
	$(PYTHON) manage.py migrate --no-input
	exec $(PYTHON) manage.py demo --host '$(HOST)' --port '$(PORT)'

test: .venv/installed-test ## Run the tests on PostgreSQL, then on SQLite (ARGS='-k name' is for pytest)
	$(PYTHON) -m pytest $(PARALLEL) $(ARGS)
	TEST_DATABASE=sqlite $(PYTHON) -m pytest $(PARALLEL) $(ARGS)

check: .venv/installed-dev ## Check style, types, the shape of the code, and that no migration is missing
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-logo
	$(PYTHON) -m pytest -q tests/test_architecture.py
	$(PYTHON) manage.py makemigrations --check --dry-run

faults: .venv/installed-test ## Break the real thing in every way and count each message (ARGS='poison --seed 7'; about ten minutes)
	@test -e /usr/lib/*/faketime/libfaketime.so.1 || ! command -v apt-get >/dev/null || test "$$(id -u)" != 0 || \
	    apt-get install -y -qq --no-install-recommends libfaketime >/dev/null
	$(PYTHON) -W ignore -m tests.faults $(ARGS)

endurance: .venv/installed-test ## Half of what it can do for half an hour, while things break (ARGS='--minutes 5')
	$(PYTHON) -W ignore -m tests.faults.endurance $(ARGS)

bench: .venv/installed-test ## Measure publishing and delivering beside Django's create(), on a PostgreSQL of its own
	$(PYTHON) -m benchmarks

docs: .venv/installed-docs ## Build the documentation into site/
	$(PYTHON) -m mkdocs build --strict

lock: ## Write the newest versions that fit into requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --extra docs --upgrade --universal --python-version 3.11 \
	    --no-header --no-annotate --no-emit-index-url --output-file requirements.lock

clean: ## Remove what the other targets made
	rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist site *.egg-info
	rm -f *.sqlite3 *.sqlite3-shm *.sqlite3-wal .secret_key
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/installed-%: pyproject.toml requirements.lock | $(PYTHON)
	@echo "Installing the $* dependencies into .venv"
	@if command -v uv >/dev/null 2>&1; then \
	    uv pip install --quiet --python $(PYTHON) --constraint requirements.lock --editable '.[$*]'; \
	else \
	    $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[$*]'; \
	fi
	@touch $@

$(PYTHON):
	@if command -v uv >/dev/null 2>&1; then \
	    exec uv venv --quiet --clear --seed --python '>=3.11' .venv; \
	fi; \
	for python in $(PYTHONS); do \
	    if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        exec "$$python" -m venv --clear .venv; \
	    fi; \
	done; \
	echo "Python 3.11 or newer, with its venv module, is needed; none of these is: $(PYTHONS)." >&2; \
	echo "Install one (on Debian: apt install python3-venv), or uv, and try again." >&2; \
	exit 1
