# Havre: build, try, test, measure. Everything else is cargo.

SHELL := /bin/bash
CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo "sudo -E env PATH=$$PATH")

# What the binary is built with and runs on, and what only the tests and the benchmark compare with.
RUN_PACKAGES := gcc libc6-dev pkg-config libseccomp-dev ca-certificates nftables iproute2 mmdebstrap busybox-static erofs-utils curl
TEST_PACKAGES := docker-registry jq less skopeo umoci podman buildah e2fsprogs zstd xz-utils zsh fish python3-venv docker-compose libfaketime runc crun tini chromium postgresql
BENCH_PACKAGES := docker-registry docker.io podman crun fuse-overlayfs e2fsprogs
# Parsers of what strangers wrote.
FUZZ_TARGETS := reference dockerfile ignore layer manifest stdcopy erofs

.PHONY: help build image demo test vm-test bench proof trees fuzz lint cli-reference docs deps deps-test deps-bench install clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: deps ## target/release/havre
	$(CARGO) build --release --locked
	@[ "$(TARGET_DIR)" = "$(CURDIR)/target" ] || install -D $(TARGET_DIR)/release/havre target/release/havre

demo: build ## the main job end to end: base image, build, run, push, remove, pull, run
	$(SUDO) demo/run.sh target/release/havre

# Everything of the program in one file, which runs where there is nothing else.
STATIC := $(shell uname -m)-unknown-linux-gnu
image: build ## the image `havre`: docker run -d -p 5000:5000 havre
	RUSTFLAGS="-C target-feature=+crt-static" LIBSECCOMP_LINK_TYPE=static \
	  LIBSECCOMP_LIB_PATH=$$(pkg-config --variable=libdir libseccomp) $(CARGO) build --release --locked --target $(STATIC)
	$(SUDO) image/build.sh target/release/havre $(TARGET_DIR)/$(STATIC)/release/havre

test: deps-test ## all tests (as root: they start real containers)
	@$(CARGO) build --locked
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  $(SUDO) env HAVRE_BIN=$(TARGET_DIR)/debug/havre $(CARGO) nextest run --workspace --locked; \
	else \
	  $(SUDO) env HAVRE_BIN=$(TARGET_DIR)/debug/havre $(CARGO) test --workspace --locked; \
	fi

vm-test: ## what depends on the kernel, in a machine with Debian's kernel and cgroup version 2: make vm-test SUITES=containers:limits
	$(SUDO) env CARGO=$(CARGO) dev/vm/test.sh $(SUITES)

lint: ## formatting, clippy, the crate graph, the licences and the command line's reference
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) run -q -p xtask --locked -- crate-graph
	$(CARGO) run -q -p xtask --locked -- licences
	@$(CARGO) run -q --locked -- __reference | diff -u docs/cli.md - || \
	  { echo "docs/cli.md is not what the program says of itself: make cli-reference"; exit 1; }

cli-reference: ## docs/cli.md, made from the program
	$(CARGO) run -q --locked -- __reference > docs/cli.md.new && mv docs/cli.md.new docs/cli.md

docs: ## API documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

bench: build deps-bench ## the same work on havre, docker and podman, as ratios
	$(CARGO) build -q --release -p xtask --locked
	$(SUDO) $(TARGET_DIR)/release/xtask bench --havre target/release/havre $(BENCH_ARGS)

proof: build ## real work (apt, pip, npm, PostgreSQL, git, rustc) on both forms of layers, which must agree; IMAGES='…': images too
	$(SUDO) testing/real_work/run.sh target/release/havre $(JOBS)
	$(if $(IMAGES),$(SUDO) testing/real_work/images.sh target/release/havre $(IMAGES))

trees: ## 10,000 random trees and archives three ways, which must be the same in both forms of layers: make trees TREES=1000
	$(SUDO) env HAVRE_RANDOM_TREES=$(or $(TREES),10000) $(CARGO) test --locked -p havre-store --test equality

fuzz: ## every parser under the fuzzer, or one: make fuzz TARGET=layer SECONDS_EACH=60 (needs cargo-fuzz)
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: cargo install cargo-fuzz"; exit 1; }
	@cd fuzz && for target in $(or $(TARGET),$(FUZZ_TARGETS)); do mkdir -p corpus/$$target && \
	  RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target corpus/$$target seeds/$$target -- \
	    -max_total_time=$(or $(SECONDS_EACH),60) -timeout=10 || exit 1; \
	done

install: build ## into /usr/local/bin, with `docker` and `docker-credential-havre` as links to it if these names are free
	$(SUDO) install -m 755 target/release/havre /usr/local/bin/havre
	@for name in docker docker-credential-havre; do \
	  [ -e /usr/local/bin/$$name ] || $(SUDO) ln -s havre /usr/local/bin/$$name; done

deps: ; @dev/packages.sh $(RUN_PACKAGES)
deps-test: ; @dev/packages.sh $(RUN_PACKAGES) $(TEST_PACKAGES) $$(command -v npm >/dev/null || echo nodejs npm)
deps-bench: ; @dev/packages.sh $(BENCH_PACKAGES)

clean: ## what the build made
	$(CARGO) clean
