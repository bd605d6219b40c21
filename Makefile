# The one door. `make demo` and `make test` are all a newcomer needs; CI runs the same words.
SHELL := bash
.DELETE_ON_ERROR:
.PHONY: demo test check audit fuzz bench build install-peers clean

TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BINARY := target/$(TARGET)/release/shipway

build: toolchain
	cargo build --release --locked --package shipway

demo: build
	scripts/demo $(BINARY)

test: toolchain
	scripts/test

# Formatting, lints and documentation, as CI wants them.
check: toolchain
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

# Licences, bans and sources are judged by `make test` as well; advisories need RustSec's database, which is fetched.
# `cargo install cargo-deny --locked` installs what it needs.
audit: toolchain
	cargo deny --locked check

# New foreign bytes for every parser, each for so long (docs/decisions/0016).
TIME ?= 60
fuzz: toolchain
	SHIPWAY_TEST_FUZZ=$(TIME) cargo test --workspace --lib --locked --no-fail-fast -- --nocapture foreign_

bench: build
	scripts/bench/run $(BINARY) $(ROWS)

install-peers:
	scripts/install-peers

.PHONY: toolchain
toolchain:
	@scripts/toolchain
