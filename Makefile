# Two commands do everything, on a machine that has only git, make and python3 with venv:
#   make demo   the laptop cluster up, asked, looked at, and down again
#   make test   everything that is checked; as root on every rung, else what needs no root

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# The set-up is done when a stamp of this very lock and project file lies in the environment.
STAMP := .venv/.set-up-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c 1-16)

# Thousands of short programs start in demo and tests: what Python compiles is kept, as in any installation.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-real test-kubernetes setup lint bench mutants soak fuzz clean

demo: setup
	@$(BIN)/python scripts/demo.py

test: setup lint
	@sh scripts/test.sh

setup: $(STAMP)

$(STAMP):
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing what requirements.lock names …"
	@$(PIP) install --quiet --requirement requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@rm -f .venv/.set-up-*
	@touch $@

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/vermin --quiet --violations --no-tips --target=3.8- dplaunch/node
	$(BIN)/vermin --quiet --violations --no-tips --target=3.9- dplaunch/router
	$(BIN)/mypy

# On a real Kubernetes on this machine, built once in some five minutes: tests/kubernetes/README.md.
test-kubernetes: export DPLAUNCH_KUBERNETES ?= $(HOME)/.cache/dplaunch-kubernetes
test-kubernetes: setup
	@test -x $(DPLAUNCH_KUBERNETES)/bin/kubelet || bash tests/kubernetes/build.sh $(DPLAUNCH_KUBERNETES)
	$(BIN)/pytest -m kubernetes tests/kubernetes

bench: setup
	@for file in benchmarks/bench_*.py; do $(BIN)/python "$$file" || exit 1; done

# The rules in spec/, plan/ and the router's pick, each changed a little: some test must notice.
mutants: setup
	$(BIN)/mutmut run
	$(BIN)/mutmut results

# Forty clients with streams of a minute while every group restarts in turn: some ten minutes.
soak: setup
	DPLAUNCH_SOAK_STREAM_SECONDS=60 $(BIN)/pytest -m whole tests/cli/test_cli_traffic.py

# The real vLLM on this machine's CPU, as root: its parser, then every form over two machines of the lab. Needs Python 3.11,
# 3 GB of disk, 8 GB of memory; five minutes of set-up the first time, then twenty on two cores.
test-real: setup
	sh tests/real/setup.sh .real
	$(BIN)/pytest -rP tests/real/real_*.py

# Anything at random where somebody else sends or breaks it: a quarter of an hour. For more, or to repeat one:
#   make fuzz FUZZ="--rounds 1000 --seed 7"
fuzz: setup
	$(BIN)/pytest $(FUZZ) tests/engines/fuzz_*.py tests/node/guard/fuzz_*.py tests/router/fuzz_*.py tests/cli/fuzz_*.py tests/lab/fuzz_*.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis mutants dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
