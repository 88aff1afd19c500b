# Thin: what each target does is in scripts/. `make run` and `make test` need nothing but a fresh Debian 12.
PORT ?= 8000
MODELS ?= $(wildcard models/demo/*)

.PHONY: run test build sanitize fuzz slow referee clean help

run: build ## install, build, serve the demo models on 127.0.0.1:$(PORT)
	@scripts/run_demo.sh $(PORT) $(MODELS)

build: ## install Debian packages and build build/release/bin/inazuma
	@scripts/install_packages.sh build
	@scripts/build.sh release inazuma

test: ## install, build, run the fast suite and the server under real clients
	@scripts/test.sh

sanitize: ## the fast suite under address+undefined, engine and serving under thread sanitizer
	@scripts/sanitize_addresses.sh
	@scripts/sanitize_threads.sh

fuzz: ## every fuzz target for FUZZ_SECONDS (60) from its seed corpus
	@scripts/fuzz.sh

slow: ## a million lines and unseen models against live references, a real model against its own
	@scripts/slow_tests.sh

referee: ## the real tritonserver and ours asked the same table of requests
	@scripts/referee.sh

clean: ## remove build/
	@rm -rf build

help: ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12
