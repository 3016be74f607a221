# Tasks of a checkout. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: # Installs the packages that building and testing needs
	@tests/setup

.PHONY: build
build: deps ## Build the daemon and the client (release)
	$(CARGO) build --release --locked --features whisper
	@packaging/kernels target/lib/stt-isolated

.PHONY: deb
deb: ## Build the Debian package into target/packages, and look at it with lintian
	@packaging/build deb

.PHONY: rpm
rpm: ## Build the RPM into target/packages, and look at it with rpmlint
	@packaging/build rpm

.PHONY: packages
packages: ## Build both
	@packaging/build

.PHONY: reproducible
reproducible: ## Build both packages here and in another folder, and compare them bit by bit
	@packaging/reproducible

.PHONY: demo
demo: build ## Transcribe real speech through the real path, and print what it cost
	@tests/demo target/release

.PHONY: test
test: deps ## Run every test that needs no virtual machine
	@tests/run
	@tests/clients/run

.PHONY: test-clients
test-clients: deps ## Run only the tests by other people's clients
	@tests/clients/run

.PHONY: accuracy
accuracy: build ## Count the words that each engine hears wrong, and write docs/ACCURACY.md (ACCURACY=… are arguments)
	@tests/accuracy/run target/release $(ACCURACY)

.PHONY: bench-peers
bench-peers: build ## Compare with Home Assistant's server of faster-whisper, same weights and clips (PEERS=… are arguments)
	@tests/accuracy/peers target/release $(PEERS)

.PHONY: forks
forks: deps ## Fork a process that holds each engine's model 200 times (FORKS=…): each must hear the same
	@tests/engines/setup
	@tests/weights/setup
	STT_REQUIRE_WEIGHTS=1 STT_FORKS=$(or $(FORKS),200) \
		$(CARGO) test --locked --features fault-engine,whisper --test processes forks:: -- --nocapture

.PHONY: simulate
simulate: deps ## Run SCHEDULES=… (100000) of the scheduler under simulated time; SEED=… shows one again
	$(if $(SEED),STT_SEED=$(SEED)) STT_SCHEDULES=$(or $(SCHEDULES),100000) \
		STT_FIRST_SCHEDULE=$(or $(FIRST),1) $(CARGO) test --release --locked --lib \
		dispatch::simulation::no_schedule -- --nocapture

.PHONY: endurance
endurance: deps ## Serve 100000 requests (REQUESTS=…) and see that nothing grows in the supervisor
	$(bench) --endurance $(or $(REQUESTS),100000)

# pocketsphinx, the command-line program, is a peer; the other tools count a request's use of kernel
# and processor.
.PHONY: bench-deps
bench-deps:
	@tests/setup pocketsphinx strace linux-perf
	@packaging/kernels target/lib/stt-isolated

# Pass arguments like this: `make bench BENCH='--check --only added,real'`.
bench = $(CARGO) bench --locked --features fault-engine --bench bench --

.PHONY: bench
bench: bench-deps build ## Measure every figure next to its peers (20 minutes; a quiet machine, as root)
	$(bench) $(BENCH)
	$(if $(BENCH),,@tests/accuracy/peers target/release)

.PHONY: bench-quick
bench-quick: bench-deps ## The same with as few runs as show that it works (2 minutes)
	$(bench) --quick $(BENCH)

.PHONY: bench-test
bench-test: deps ## See that the benchmark notices 200 µs (PLANT=…) that are planted in the hand-over
	$(bench) --planted $(or $(PLANT),200us)

.PHONY: soak
soak: deps ## Everything at once for DURATION=… (1h): nothing may be lost, and nothing may grow
	$(bench) --soak $(or $(DURATION),1h)

.PHONY: specification
specification: ## Put the figures of the last `make bench`, `endurance` and `soak` into docs/SPECIFICATION.md
	$(bench) --specification docs/SPECIFICATION.md

.PHONY: long-audio
long-audio: deps ## Transcribe an hour of clips joined with pauses, and compare it with the clips alone
	STT_LONG_AUDIO=3600 $(CARGO) test --release --locked --features fault-engine,whisper --test engines long_audio::clips_joined -- --nocapture

.PHONY: fuzz
fuzz: deps ## Fuzz every parser of hostile bytes, each for TIME=… seconds (60); TARGETS=… are some of them
	@fuzz/run $(TARGETS)

.PHONY: test-vm
test-vm: deps ## Run the service under real systemd and cgroups (QEMU, no KVM needed)
	@tests/vm/run

.PHONY: test-vm-full
test-vm-full: deps ## The same with the cases that take minutes: upgrades, removal, drop-ins, leaks, programs
	@tests/vm/run --full

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: lint
lint: ## Check format, lints (every warning is an error) and the licences of crates
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked --features fault-engine,whisper -- -D warnings
	$(CARGO) fmt --check --manifest-path packaging/pages/Cargo.toml
	$(CARGO) clippy --all-targets --locked --manifest-path packaging/pages/Cargo.toml --target-dir target/pages -- -D warnings
	packaging/documentation check
	tests/house/deny
	tests/house/measure --check

.PHONY: clean
clean: ## Remove everything that was built
	$(CARGO) clean
