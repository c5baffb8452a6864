# The list of commands; CI calls these and nothing else.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

X86 := x86_64-unknown-linux-musl
ARM := aarch64-unknown-linux-musl
# What `make build` builds for.
NATIVE := $(shell uname -m)-unknown-linux-musl
# Only checked: stable Rust has no musl for it.
RISCV := riscv64gc-unknown-linux-gnu
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
FUZZERS := decode document filter import plan rules

# For `make install`, as everywhere.
PREFIX ?= /usr/local
DESTDIR ?=
DIST ?= dist
SHARE = $(DESTDIR)$(PREFIX)/share
# How long each fuzz target runs, in seconds, and how often; 0 and -1 are no limit.
FUZZ_SECONDS ?= 60
FUZZ_RUNS ?= -1
# How many random policies `make soak` compares.
SOAK_CASES ?= 10000
# How many launches it makes, 64 at a time.
LAUNCHES ?= 1000000
# How often `make soak` kills whatever takes part in a launch.
KILLS ?= 1000
# Which rows `make matrix` boots, a regular expression, and where it keeps what it downloads.
ROWS ?= 6.1|6.1-nolandlock|6.12|arm64-6.12
CACHE ?= $(TARGET)/matrix
# The tests of `make matrix`, for the sake of time; those of `make matrix-all` take some minutes a row.
PART ?= cgroup:: guarantees::every guarantees::what kernel:: landlock::
# Passed on to criterion, --quick for instance.
BENCH ?=
# How often it races with a supervisor for what a path leads to.
RACES ?= 100000
# About how many calls one is asked, while its memory is looked at.
EVENTS ?= 10000000
# How often `make compare` and `make scale` measure each way to launch.
ROUNDS ?= 1000
# Where `make contenders` puts programs.
CONTENDERS := $(TARGET)/contenders

# The programs that the tests run, and the Debian packages they come from.
PROGRAMS := \
	bash:bash bwrap:bubblewrap curl:curl gcc:gcc git:git groff:groff-base make:make node:nodejs openssl:openssl python3:python3 \
	runc:runc setpriv:util-linux strace:strace unshare:util-linux

# The programs that boot guests, and the keys of what these are made of.
GUESTS := \
	cpio:cpio qemu-system-aarch64:qemu-system-arm qemu-system-x86_64:qemu-system-x86 xz:xz-utils \
	/usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring

# What the differential tests and benches are linked with.
LIBRARIES := /usr/include/seccomp.h:libseccomp-dev

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: toolchain programs guests ## install what is missing: Rust targets, programs and libraries of the tests

.PHONY: build
build: toolchain ## dist/launcher and dist/encode-policy
	cargo build --release -p launcher --target $(NATIVE)
	cargo build --profile encoder -p policy-encoder --target $(NATIVE)
	@install -CD $(TARGET)/$(NATIVE)/release/launcher dist/launcher
	@install -CD $(TARGET)/$(NATIVE)/encoder/encode-policy dist/encode-policy

.PHONY: build-all
build-all: toolchain ## the same, and dist/aarch64/
	@# All at once: none waits for the last crates of the others.
	cargo build --release -p launcher --target $(NATIVE) --target $(ARM)
	cargo build --profile encoder -p policy-encoder --target $(NATIVE) --target $(ARM)
	@$(MAKE) --no-print-directory build
	@install -CD $(TARGET)/$(ARM)/release/launcher dist/aarch64/launcher
	@install -CD $(TARGET)/$(ARM)/encoder/encode-policy dist/aarch64/encode-policy

.PHONY: demo
demo: build ## the main job on real input: what a policy lets through, and what not
	@examples/demo.sh

.PHONY: test
test: build-all probe programs ## unit tests, and end-to-end tests of what is in dist/
	cargo test --no-fail-fast

.PHONY: matrix
matrix: build-all guest-tests guests ## part of the end-to-end tests on the kernels of ROWS='6.1|6.1-nolandlock|6.12|arm64-6.12'
	@CACHE=$(CACHE) PART='$(PART)' tests/matrix/run '$(ROWS)'

.PHONY: matrix-all
matrix-all: ## nearly all of them on every kernel of tests/matrix/rows
	@$(MAKE) matrix ROWS='.*' PART=

.PHONY: soak
soak: build probe ## LAUNCHES=1000000 at once; random policies against the kernel, SOAK_CASES=10000; kills at any moment, KILLS=1000 of each; RACES=100000 with a supervisor, EVENTS=10000000 for one
	CI=true LAUNCHES=$(LAUNCHES) cargo test -p e2e --test load -- --nocapture
	CI=true KILLS=$(KILLS) cargo test -p e2e --test e2e kills:: -- --nocapture
	CI=true SOAK_CASES=$(SOAK_CASES) cargo test -p e2e --test e2e model:: -- --nocapture
	CI=true RACES=$(RACES) cargo test -p e2e --test e2e supervise:: -- --nocapture --skip supervise::memory
	@# Alone, since what other tests have in memory is in it.
	CI=true EVENTS=$(EVENTS) cargo test -p e2e --test e2e supervise::memory:: -- --nocapture

.PHONY: faults
faults: build probe programs ## every system call of a launch fails, one at a time, with every error; `make test` has two of them
	CI=true FAULTS=all cargo test -p e2e --test e2e sweep:: -- --nocapture

.PHONY: battery
battery: build probe programs ## attacks against plain exec, bubblewrap and this; writes docs/battery.md
	CI=true WRITE_BATTERY=1 cargo test -q -p e2e --test e2e battery::the_document -- --nocapture

.PHONY: miri
miri: setup-miri ## what needs no kernel under Miri, which sees undefined behaviour
	@# Tests leak what has to live for ever; those of every damaged byte take hours.
	MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-ignore-leaks' cargo +nightly miri test -p launcher-policy \
		--lib --test failures --test golden --test lists -- --skip at_its_limits --skip is_cut

.PHONY: check
check: toolchain deny ## format, clippy, documentation, licences; warnings are errors
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --exclude launcher --all-targets -- -D warnings
	cargo clippy -p policy-encoder --no-default-features --all-targets -- -D warnings
	cargo clippy --release -p launcher --target $(X86) -- -D warnings
	cargo clippy --release -p launcher --target $(ARM) -- -D warnings
	cargo clippy --release -p launcher --target $(RISCV) -- -D warnings
	CARGO_TARGET_DIR=$(TARGET) cargo clippy --manifest-path fuzz/Cargo.toml --no-default-features --bins -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace --exclude launcher
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --lib -p launcher
	@# Advisories are not checked: their database lies where a build may have no way to.
	cargo deny --all-features check bans licenses sources

.PHONY: bench
bench: build probe programs ## what things cost; BENCH=--quick for a first look
	cargo bench --profile encoder -p benches -- $(BENCH)

.PHONY: compare
compare: measure ## launches beside those of other sandboxes, ROUNDS=1000 in turns; writes docs/comparison.*
	PATH="$(CONTENDERS)/bin:$$PATH" $(TARGET)/encoder/compare --rounds $(ROUNDS) --out docs

.PHONY: scale
scale: measure ## how their cost grows, with what; writes docs/scale/
	$(TARGET)/encoder/scale --rounds $(ROUNDS) --out docs/scale

.PHONY: contenders
contenders: toolchain ## more programs for `make compare`, from Debian and from crates.io
	@tests/programs.sh firejail:firejail
	cargo install --quiet --locked --root $(CONTENDERS) hakoniwa-cli sandlock-cli zerobox
	cargo install --quiet --locked --root $(CONTENDERS) --path benches/sandlock

.PHONY: fuzz
fuzz: setup-fuzz ## run each fuzz target for FUZZ_SECONDS=60
	@# Without a sanitizer: what is fuzzed has no unsafe code. What is found goes to the first
	@# directory; the others are only read.
	for target in $(FUZZERS); do \
		mkdir -p fuzz/target/corpus/$$target; \
		cargo +nightly fuzz run -s none $$target fuzz/target/corpus/$$target fuzz/corpus/$$target \
			policy/testdata/v2 examples policy-encoder/presets -- \
			-max_total_time=$(FUZZ_SECONDS) -runs=$(FUZZ_RUNS) -max_len=16384 -timeout=10 -verbosity=0 -print_final_stats=1; \
	done

.PHONY: size
size: build-all probe programs ## sizes, segments, system calls and page faults of what is in dist/, with their limits
	cargo test -q -p e2e --test size -- --nocapture --test-threads=1
	cargo test -q -p e2e --test e2e order::

.PHONY: install
install: $(DIST)/launcher $(DIST)/encode-policy ## both programs, their manual pages and completions to DESTDIR= PREFIX=/usr/local
	install -D $(DIST)/launcher $(DESTDIR)$(PREFIX)/bin/launcher
	install -D $(DIST)/encode-policy $(DESTDIR)$(PREFIX)/bin/encode-policy
	install -d $(addprefix $(SHARE)/,man/man1 bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	$(DIST)/encode-policy completions bash > $(SHARE)/bash-completion/completions/encode-policy
	$(DIST)/encode-policy completions zsh > $(SHARE)/zsh/site-functions/_encode-policy
	$(DIST)/encode-policy completions fish > $(SHARE)/fish/vendor_completions.d/encode-policy.fish
	$(DIST)/launcher --help | $(DIST)/encode-policy man --launcher-help /dev/stdin $(SHARE)/man/man1

.PHONY: clean
clean: ## remove all that was built
	cargo clean
	rm -rf dist fuzz/target

# What follows is called by the targets above.

dist/launcher dist/encode-policy:
	$(MAKE) build

# Programs of the tests and benches that run inside the sandbox: static, too.
.PHONY: probe
probe: toolchain
	cargo build --release -p probe --target $(NATIVE)
	cargo build --release -p battery --target $(NATIVE)
	cargo build --release -p benches --bin nothing --target $(NATIVE)
	@install -CD $(TARGET)/$(NATIVE)/release/probe dist/test/probe
	@install -CD $(TARGET)/$(NATIVE)/release/fault dist/test/fault
	@install -CD $(TARGET)/$(NATIVE)/release/battery dist/test/battery
	@install -CD $(TARGET)/$(NATIVE)/release/nothing dist/test/nothing

.PHONY: measure
measure: build probe programs
	cargo build --profile encoder -p measure

# The end-to-end tests themselves, static: cargo has them run by what copies them.
.PHONY: guest-tests
guest-tests: probe
	cargo build --release -p probe --target $(ARM)
	@install -CD $(TARGET)/$(ARM)/release/probe dist/aarch64/test/probe
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUNNER='install -CDT' cargo test --config profile.dev.strip=true \
		-p e2e --test e2e --target $(X86) -- $(CURDIR)/dist/test/e2e
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER='install -CDT' cargo test --config profile.dev.strip=true \
		-p e2e --test e2e --target $(ARM) -- $(CURDIR)/dist/aarch64/test/e2e

.PHONY: toolchain
toolchain:
	@rustup --quiet target add $(X86) $(ARM) $(RISCV)
	@rustup --quiet component add clippy rustfmt
	@tests/programs.sh cc:gcc

.PHONY: programs
programs:
	@tests/programs.sh $(PROGRAMS) $(LIBRARIES)

.PHONY: guests
guests:
	@tests/programs.sh $(GUESTS)

.PHONY: deny
deny: toolchain
	@# An unoptimised build takes a third of the time, and is fast enough.
	@cargo deny --version >/dev/null 2>&1 || cargo install --quiet --locked --debug cargo-deny

.PHONY: setup-miri
setup-miri: toolchain
	@rustup +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
	@rustup --quiet component add --toolchain nightly miri rust-src

.PHONY: setup-fuzz
setup-fuzz: toolchain
	@tests/programs.sh c++:g++
	@rustup +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz
