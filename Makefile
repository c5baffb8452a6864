# The list of commands; CI calls these and nothing else.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

X86 := x86_64-unknown-linux-musl
ARM := aarch64-unknown-linux-musl
TARGET := $(CURDIR)/target

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is needed: targets of the Rust toolchain, test tools
	rustup target add $(X86) $(ARM)
	rustup component add rustfmt clippy

.PHONY: build
build: ## dist/launcher and dist/encode-policy, and dist/aarch64/
	cargo build --release -p launcher --target $(X86)
	cargo build --profile encoder -p policy-encoder --target $(X86)
	cargo build --release -p launcher --target $(ARM)
	cargo build --profile encoder -p policy-encoder --target $(ARM)
	install -D $(TARGET)/$(X86)/release/launcher dist/launcher
	install -D $(TARGET)/$(X86)/encoder/encode-policy dist/encode-policy
	install -D $(TARGET)/$(ARM)/release/launcher dist/aarch64/launcher
	install -D $(TARGET)/$(ARM)/encoder/encode-policy dist/aarch64/encode-policy
