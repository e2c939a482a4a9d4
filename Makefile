# Two commands do all: `make investigate` and `make test`. Everything lives in .venv beside this file.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
BUNDLE ?= evals/recordings/bundles/$(shell cat evals/recordings/DEFAULT)
JOBS ?= 3

.PHONY: investigate test check bench demo lab baselines lock
.DELETE_ON_ERROR:

$(VENV)/.run: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r requirements-dev.lock
	touch $@

investigate: $(VENV)/.run ## investigate the shipped default incident (BUNDLE=folder for another)
	$(BIN)/inquest investigate $(BUNDLE)

test: $(VENV)/.dev ## every test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## speed and memory, with figures (ONLY=burst for one of them)
	$(BIN)/python -m evals.bench $(ONLY)

demo: $(VENV)/.dev ## a live system, a fault, an alert, a report (FAULT=name for another)
	$(BIN)/inquest demo $(if $(FAULT),--fault $(FAULT))

lab: $(VENV)/.dev ## record the shipped incidents anew
	$(BIN)/python -m evals.lab evals/recordings

baselines: $(VENV)/.dev ## install other people's methods, for `inquest eval run --baselines`
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r requirements-baselines.lock

lock: ## resolve the declared ranges anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml .ci/build.in -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group dev pyproject.toml .ci/build.in -o requirements-dev.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group baselines -c requirements-dev.lock -o requirements-baselines.lock
