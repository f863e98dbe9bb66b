# make build | demo | test | crash | lint | rust | bench | clean. Everything lands in .venv and in ignored folders.
# PYTHON names the interpreter to start from (3.11 or newer); PYTEST adds arguments for pytest; N is how
# often `make crash` kills a download, and CRASH has more arguments for it (--help). SAVED is where `make bench`
# keeps its figures.

PYTHON ?= python3
PYTEST ?=
N ?= 1000
SAVED ?= .benchmarks
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PIP_ROOT_USER_ACTION := ignore
export PATH := $(CURDIR)/$(BIN):$(PATH):$(HOME)/.cargo/bin

CYTHON := $(wildcard ext/swarm/*)
RUST := $(wildcard rust/src/*.rs rust/src/*/*.rs) rust/Cargo.toml rust/Cargo.lock
STUBTEST := --ignore-disjoint-bases --ignore-unused-allowlist --allowlist tests/stubtest-allowlist
STUBS := swarm._bencode swarm._bits swarm._fill swarm._wire swarm._native

# Nothing that is started from here looks for peers beyond this machine.
export SWARM_NO_DHT = 1

.PHONY: build demo test crash lint rust bench clean

build: .venv/installed .venv/compiled

# What is missing is said before anything is fetched or compiled.
.venv/ready:
	@PYTHON=$(PYTHON) sh .ci/prerequisites
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

# Dependencies, the `swarm` command, and a first build; the package itself stays here (editable).
.venv/installed: pyproject.toml setup.py | .venv/ready
	@echo "installing and compiling, about two minutes"
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' > .venv/requires
	@$(PIP) install -r .venv/requires
	@$(BIN)/python setup.py --quiet build_ext --inplace --parallel 4
	@$(PIP) --quiet install --no-build-isolation --editable .
	@touch .venv/compiled $@

.venv/compiled: $(CYTHON) $(RUST) | .venv/installed
	@echo "compiling what has changed"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

# The groups of development tools that pyproject.toml lists.
.venv/group-%: pyproject.toml | .venv/ready
	@$(PIP) install --group $*
	@touch $@

demo: build
	@$(BIN)/python bench/demo.py

test: build .venv/group-test
	@sh .ci/clients
	@$(BIN)/python -m pytest $(PYTEST)

crash: build
	@PYTHONPATH=tests:. $(BIN)/python -m crash --kills $(N) $(CRASH)

lint: build .venv/group-lint rust
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m mypy.stubtest --concise $(STUBTEST) $(STUBS)

rust: .venv/ready
	@cd rust && cargo fmt --check
	@cd rust && cargo clippy --quiet --locked --all-targets -- -D warnings
	@cd rust && cargo test --quiet --locked

# Parts, compared with the last run that is in SAVED. Whole clients: `swarm bench` and `swarm bench compare`.
bench: build .venv/group-test
	@$(BIN)/python -m pytest bench --benchmark-enable --benchmark-autosave --benchmark-storage=$(SAVED) \
		$(if $(wildcard $(SAVED)/*/*.json),--benchmark-compare) --benchmark-sort=name \
		--benchmark-columns=min,median,iqr,rounds --quiet $(PYTEST)

clean:
	rm -rf .venv build dist rust/target swarm/*.so swarm/*.so~ *.egg-info .*_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
