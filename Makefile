# rcrun's targets; `make help` lists them. Each works from any path and without network once its
# packages (tests/packages.txt) are there.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := build
# rustup's cargo, also where the shell does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

TARGET := $(or $(CARGO_TARGET_DIR),target)
RCRUN := $(TARGET)/release/rcrun
PROGRAMS := rcrun rcrun-shim rcrun-cri rcrun-agent
# Where cargo puts release builds; all are for a named target.
BUILD = $(TARGET)/$$(rustc -vV | sed -n 's/^host: //p')/release
# Of make bench; all where it is empty: CASES="default exec"
CASES ?=
PREFIX ?= /usr/local
DESTDIR ?=
CARGO_DENY := 0.20.2

.PHONY: help build build-benches demo demo-pods test test-unit test-integration test-images test-cri test-agent test-kubernetes critest test-clients test-faults test-robustness conformance test-vm fuzz bench bench-quick bench-peers order lint check install clean cargo

help: ## List these targets
	@sed -En 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 26

build: cargo ## Build the static binaries target/release/rcrun, rcrun-shim, rcrun-cri and rcrun-agent
	@tests/bin/require build
	@cargo build --release --locked $(PROGRAMS:%=--package %)
	@mkdir -p "$(TARGET)/release"
	@for program in $(PROGRAMS); do ln -f "$(BUILD)/$$program" "$(TARGET)/release/$$program"; done

demo: build ## Run a real container made from Debian's busybox, with its timings
	@tests/bin/require demo
	@tests/bin/demo "$(RCRUN)" "$(TARGET)/demo"

demo-pods: build ## Run Pods, a Service and a rolling update from Kubernetes manifests, on a node of its own (root)
	@tests/bin/require demo demo-pods
	@tests/bin/demo-pods "$(TARGET)/release" "$(TARGET)/demo-pods"

test: build ## Run all tests: unit, integration, images, networks, shim, CRI, agent, critest, clients, faults, robustness, conformance (root), VM, fuzzing
	@tests/bin/require test images agent vm fuzz
	@tests/bin/suites unit integration images network shim cri agent critest clients faults robustness conformance vm fuzz

test-unit: cargo ## Run the unit and documentation tests (no root needed)
	@tests/bin/require build unit
	@tests/bin/suites unit

test-integration: build ## Run the tests with containers on this machine (root)
	@tests/bin/require test
	@tests/bin/suites integration

test-images: build ## Pull images from Debian's docker-registry, with servers of ours in between that do wrong (root)
	@tests/bin/require test images
	@tests/bin/suites images

test-cri: build ## Run Pods: networks, the shim, rcrun-cri with a client of ours and Kubernetes' own (root; Go for the latter)
	@tests/bin/require test images
	@tests/bin/suites network shim cri

test-agent: build ## Run the node agent on nodes with rcrun-cri, and with containerd and runc (root; Go for the latter)
	@tests/bin/require test images agent
	@tests/bin/suites agent

critest: build ## Run critest, the CRI's conformance tests, against rcrun-cri (root, Go)
	@tests/bin/require test images
	@tests/bin/suites critest

test-kubernetes: build ## Run a kubelet with static Pods on rcrun-cri (root, Go; builds kubelet, twenty minutes the first time)
	@tests/bin/require test images
	@tests/bin/suites kubernetes

test-clients: build ## Run podman, containerd and docker with rcrun as their runtime (root)
	@tests/bin/require test
	@tests/bin/suites clients

test-faults: build ## Kill rcrun after each of its effects and see that nothing is left (root)
	@tests/bin/require test
	@tests/bin/suites faults

test-robustness: build ## Run 10,000 containers, 500 at once, 64 in parallel, and count what is left (root)
	@tests/bin/require test
	@tests/bin/suites robustness

conformance: build ## Run the validation programs of OCI runtime-tools (root, Go)
	@tests/bin/require test
	@tests/bin/suites conformance

test-vm: build ## Run the tests in a VM with every cgroup controller (root)
	@tests/bin/require test vm
	@tests/bin/suites vm

fuzz: cargo ## Fuzz what reads untrusted bytes, a minute a target (needs a nightly compiler)
	@tests/bin/require build fuzz
	@tests/bin/suites fuzz

bench: build-benches ## Measure rcrun beside the floor and the peers in target/peers (root; a quarter of an hour)
	@benches/run "$(RCRUN)" "$(BUILD)" $(CASES)

bench-quick: build-benches ## The same in a minute, to see that it works
	@benches/run "$(RCRUN)" "$(BUILD)" --quick $(CASES)

bench-peers: cargo ## Build or fetch the newest runc, crun, youki and containerd into target/peers
	@tests/bin/require bench-peers
	@benches/peers "$(TARGET)/peers"

order: build-benches ## Find out anew in which order a start executes functions, for src/order.ld (root; ten minutes)
	@benches/order/run "$(BUILD)/trace"

build-benches: build
	@tests/bin/require bench images
	@cargo build --release --locked --package rcrun-benches

lint: cargo ## Check format, clippy, the fuzz crate's lock file, and the dependencies' licences, bans and sources
	@tests/bin/require build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	@cargo deny --version 2>/dev/null | grep -qxF 'cargo-deny $(CARGO_DENY)' || cargo install --quiet --locked --version $(CARGO_DENY) cargo-deny
	cargo deny --locked check licenses bans sources

check: lint test ## What CI runs: lint and test

install: build ## Install rcrun, rcrun-shim, rcrun-cri and rcrun-agent into DESTDIR/PREFIX/bin (PREFIX=/usr/local), and systemd units
	@for program in $(PROGRAMS); do install -D -m 755 "$(TARGET)/release/$$program" "$(DESTDIR)$(PREFIX)/bin/$$program"; done
	@for unit in cri/rcrun-cri.* agent/rcrun-agent.service; do \
		sed 's|/usr/local/bin|$(PREFIX)/bin|' "$$unit" | install -D -m 644 /dev/stdin "$(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/}"; \
	done

clean: cargo ## Remove everything that was built, the VM's kernel too
	@cargo clean --quiet

cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing for the user $$(id -un): install Rust with rustup (https://rustup.rs), then run make again" >&2; exit 1; }
