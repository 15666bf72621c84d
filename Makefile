# make demo           two antibodies and four proteins, in minutes; prints where the report is
# make demo-full      the whole demo set of AlphaFold2, as a rehearsal
# make demo-antibody  more antibodies
# make demo-boltz     Boltz-2 with a ligand, an affinity and DNA, as a rehearsal; installs its environment (1 GB) first
# make demo-design    sequences for an antibody's backbone with ProteinMPNN, folded and compared: real parameters
# make weights        parameters of flash-abb and ProteinMPNN (147 MB to download) into your data folder, for the
#                     demos and the tests
# make test           unit and property tests, a foreign engine and the tutorials: a verdict in ten minutes
# make test-all       all others; what needs a program that is missing is skipped, with the reason
# make test-images    image editing (plugins/snakefold-images), in an environment of its own
# make check          linters and types
# make faults         every fault of the emulated RunPod, and runs that are killed: docs/reliability.md
# make parity         AlphaFold2's switches against colabfold_batch's flags, one by one, on random parameters
# make soak           the service: thousands of generated and mutated requests, and kills: benchmarks/soak.md
# make emulator       a RunPod service on this machine to try things against, free of charge: docs/emulator.md

PYTHON ?= python3
BIN := .venv/bin
PLUGIN := plugins/snakemake-executor-plugin-runpod
IMAGES := plugins/snakefold-images
# Test processes side by side; most of the time each waits for something.
WORKERS ?= 3
PIP := $(BIN)/pip --disable-pip-version-check --quiet --quiet

.DEFAULT_GOAL := demo
.PHONY: demo demo-full demo-antibody demo-boltz demo-design weights test test-all test-images check docs emulator faults parity soak lock

.venv/run.stamp: requirements/run.lock pyproject.toml $(PLUGIN)/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "snakefold needs Python 3.11 or 3.12: make PYTHON=python3.11" >&2; exit 2; }
	@echo "Installing snakefold into .venv, from a lock file with hashes: a minute or two."
	$(PYTHON) -m venv .venv
	@$(PIP) install --no-deps --require-hashes -r requirements/run.lock
	@$(PIP) install --no-deps --no-build-isolation --editable . --editable $(PLUGIN)
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.lock
	$(PIP) install --no-deps --require-hashes -r requirements/dev.lock
	@touch $@

demo: .venv/run.stamp weights
	$(BIN)/snakefold run --configfile config/demo.yaml

demo-full: .venv/run.stamp
	$(BIN)/snakefold run

weights: .venv/run.stamp
	$(BIN)/snakefold weights fetch flashabb
	$(BIN)/snakefold weights fetch proteinmpnn

demo-antibody: .venv/run.stamp weights
	$(BIN)/snakefold run --configfile config/antibody.yaml

# INSTALL: options of the install, such as --index ADDRESS for PyTorch's builds for CPUs.
demo-boltz: .venv/run.stamp
	$(BIN)/snakefold engines install boltz2 $(INSTALL)
	$(BIN)/snakefold run --configfile config/demo-boltz.yaml

demo-design: .venv/run.stamp weights
	$(BIN)/snakefold run --configfile config/design.yaml

QUICK := tests/unit tests/gate tests/e2e/test_tutorials.py
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15

test: .venv/dev.stamp weights
	$(PYTEST) $(QUICK)

test-all: .venv/dev.stamp weights
	$(PYTEST) $(QUICK:%=--ignore=%) --ignore=tests/parity

# Its lock has ESMFold's builds of torch and transformers, and little else: where ESMFold is installed, they are used.
.venv-images/test.stamp: .venv/run.stamp $(IMAGES)/requirements-test.lock $(IMAGES)/pyproject.toml
	$(PYTHON) -m venv --clear .venv-images
	@$(BIN)/python -c 'from snakefold.engines import environments, get; place = environments.place_of(get("esmfold")); \
		place.prefix and print(*place.prefix.glob("lib/python3.*/site-packages"))' \
		> .venv-images/esmfold.pth && mv .venv-images/esmfold.pth .venv-images/lib/python3.*/site-packages
	.venv-images/bin/pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r $(IMAGES)/requirements-test.lock
	.venv-images/bin/pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable $(IMAGES)
	@touch $@

# Snakemake is that of .venv; of snakefold the tests use the worker's parts that need no package of its own.
test-images: .venv-images/test.stamp
	PYTHONPATH="$(CURDIR)/src" PATH="$(CURDIR)/.venv-images/bin:$(CURDIR)/$(BIN):$$PATH" .venv-images/bin/python -m pytest $(IMAGES)/tests --durations=5

check: .venv/dev.stamp
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/snakefmt --check workflow
	@# Its linter wants to know what every rule runs in: snakefold's own environment, or the image that is set.
	$(BIN)/snakemake --lint --quiet all --config container=docker://snakefold
	$(BIN)/snakemake --lint --quiet all --configfile config/design.yaml --config container=docker://snakefold
	$(BIN)/shellcheck .ci/run containers/*.sh
	$(BIN)/hadolint containers/Docker.base containers/Docker containers/Docker.engine containers/Docker.af3 $(IMAGES)/Docker
	$(BIN)/snakefold config table | diff - config/README.md
	$(BIN)/snakefold config schema | diff - workflow/schemas/config.schema.json

faults: .venv/dev.stamp
	$(BIN)/python benchmarks/faults.py --out benchmarks/faults.json $(ARGUMENTS)

parity: .venv/dev.stamp
	$(BIN)/python -m pytest tests/parity -v $(ARGUMENTS)

soak: .venv/dev.stamp
	$(BIN)/python benchmarks/soak.py --out benchmarks/soak.json $(ARGUMENTS)

# ARGUMENTS, for example: --endpoint fold='COMMAND' --faults FILE; make emulator ARGUMENTS=--help
emulator: .venv/dev.stamp
	$(BIN)/snakefold emulator $(ARGUMENTS)

docs: .venv/dev.stamp
	$(BIN)/snakefold config table > config/README.md
	$(BIN)/snakefold config schema > workflow/schemas/config.schema.json
	$(BIN)/python docs/screenshot.py results-antibody/report/index.html EDE1-C10 docs/report.png

# Needs uv. Lock files carry hashes and no addresses.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
TOY := tests/engines/own_environment
BOLTZ := src/snakefold/engines/boltz2
ESMFOLD := src/snakefold/engines/esmfold
AF3 := src/snakefold/engines/af3
# Builds of torch are of one platform. Boltz names wandb, and imports it in training only.
LOCK_TORCH := uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header --override $(BOLTZ)/left-out.txt
# Its JAX is another than AlphaFold2's, and its wheel is for Python 3.12: an environment with versions of its own.
LOCK_AF3 := uv pip compile --quiet --python-version 3.12 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header
# Where PyTorch's builds for CPUs are, if no index that is configured has them: --index ADDRESS --index-strategy …
TORCH_CPU ?=
lock:
	$(LOCK) pyproject.toml $(PLUGIN)/pyproject.toml requirements/build.in -o requirements/run.lock
	$(LOCK) pyproject.toml $(PLUGIN)/pyproject.toml requirements/build.in requirements/dev.in -c requirements/run.lock \
		-o requirements/dev.lock
	$(LOCK) pyproject.toml --extra worker --extra kubernetes --extra service requirements/build.in -c requirements/run.lock \
		-o requirements/worker.lock
	$(LOCK) pyproject.toml --extra worker --extra kubernetes --extra service --extra gpu requirements/build.in -c requirements/run.lock \
		-o requirements/worker-gpu.lock
	$(LOCK) $(TOY)/environment.in -c requirements/run.lock -o $(TOY)/src/snakefold_own_environment/environment.lock
	$(LOCK_TORCH) $(BOLTZ)/environment.in -c requirements/run.lock -o $(BOLTZ)/environment.lock
	$(LOCK_TORCH) $(BOLTZ)/environment-cpu.in -c $(BOLTZ)/environment.lock $(TORCH_CPU) -o $(BOLTZ)/environment-cpu.lock
	$(LOCK_TORCH) $(ESMFOLD)/environment.in -c requirements/run.lock -o $(ESMFOLD)/environment.lock
	$(LOCK_TORCH) $(ESMFOLD)/environment.in -c $(ESMFOLD)/environment.lock $(TORCH_CPU) -o $(ESMFOLD)/environment-cpu.lock
	$(LOCK_TORCH) $(IMAGES)/pyproject.toml requirements/build.in -c requirements/run.lock -c $(ESMFOLD)/environment.lock \
		-o $(IMAGES)/requirements.lock
	$(LOCK_TORCH) $(IMAGES)/pyproject.toml $(IMAGES)/requirements-test.in -c $(IMAGES)/requirements.lock $(TORCH_CPU) \
		-o $(IMAGES)/requirements-test.lock
	$(LOCK_AF3) $(AF3)/environment.in -o $(AF3)/environment.lock
	$(LOCK_AF3) $(AF3)/environment-cpu.in -c $(AF3)/environment.lock -o $(AF3)/environment-cpu.lock
