# What one can do with a checkout. `make` alone lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: # What building and testing needs from the system, installed by name
	@tests/setup

.PHONY: build
build: deps ## Build the daemon and the client (release)
	$(CARGO) build --release --locked --features whisper

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

.PHONY: endurance
endurance: deps ## Serve 100000 requests (REQUESTS=…) and see that nothing grows in the supervisor
	STT_ENDURANCE=$(or $(REQUESTS),100000) $(CARGO) test --release --locked --features fault-engine --test endurance -- --nocapture

.PHONY: long-audio
long-audio: deps ## Transcribe an hour of clips joined with pauses, and compare it with the clips alone
	STT_LONG_AUDIO=3600 $(CARGO) test --release --locked --features fault-engine --test long_audio clips_joined -- --nocapture

.PHONY: fuzz
fuzz: deps ## Fuzz every parser of hostile bytes, each for TIME=… seconds (60); TARGETS=… are some of them
	@fuzz/run $(TARGETS)

.PHONY: test-vm
test-vm: deps ## Run the service under real systemd and cgroups (QEMU, no KVM needed)
	@tests/vm/run

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: lint
lint: ## Check format and lints, every warning an error
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) clippy --all-targets --locked --features fault-engine,whisper -- -D warnings

.PHONY: clean
clean: ## Remove everything that was built
	$(CARGO) clean
