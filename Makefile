# What a person needs, and the same steps for CI (.ci/run).

GO      ?= go
ROOT    := $(CURDIR)
TOOL    := $(GO) tool -modfile=$(ROOT)/tools/go.mod
# Modules of their own are not in ./... and are visited by name.
MODULES := . internal/interop examples/routers bench
# npm packages of the tests and of the examples, each with a lock file.
NODE    := internal/interop examples/chat examples/cluster

FUZZTIME ?= 5s
# Where tests leave what a person should look at, such as screenshots.
export ARTIFACTS ?= $(ROOT)/artifacts

.DEFAULT_GOAL := help
.PHONY: help run test unit interop lint fmt fuzz bench bench-quick bench-cluster bench-go vuln

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

EXAMPLE ?= chat
run: examples/chat/node_modules/.done $(patsubst %/package.json,%/node_modules/.done,$(wildcard examples/$(EXAMPLE)/package.json)) ## start an example and print its address (EXAMPLE=chat, ADDR=host:port)
	$(GO) run ./examples/$(EXAMPLE) $(if $(ADDR),-addr $(ADDR))

test: unit interop ## install everything the tests need, then run all of them

unit: bench/node/node_modules/.done examples/cluster/node_modules/.done # the main module, the routers and the benchmarks' own tests
	$(GO) test -race -shuffle=on ./...
	$(GO) test -run '^TestAlloc' ./... # allocation budgets do not hold under the race detector
	cd examples/routers && $(GO) test -race -shuffle=on ./...
	cd bench && $(GO) test ./...

interop: $(NODE:%=%/node_modules/.done) # the official clients, nginx and Chromium
	cd internal/interop && $(GO) test -race -shuffle=on -parallel 6 -timeout 25m ./...

# npm may be missing on a person's machine: the tests that need it say so then.
%/node_modules/.done: %/package.json %/package-lock.json
	@if command -v npm >/dev/null; then \
		cd $* && npm ci --no-audit --no-fund && touch node_modules/.done; \
	elif [ -n "$$CI" ]; then \
		echo "npm is missing" >&2; exit 1; \
	else \
		echo "npm is missing: $* goes without its packages"; \
	fi

lint: ## formatting, go.mod, go fix, go vet and golangci-lint, in every module
	@failed=; for m in $(MODULES); do \
		echo "== lint $$m"; cd $(ROOT)/$$m || exit 1; \
		$(TOOL) golangci-lint fmt --diff -c $(ROOT)/.golangci.yml || failed=1; \
		$(GO) mod tidy -diff || failed=1; \
		$(GO) fix -diff ./... || failed=1; \
		$(GO) vet ./... || failed=1; \
		$(TOOL) golangci-lint run -c $(ROOT)/.golangci.yml ./... || failed=1; \
	done; test -z "$$failed"

fmt: ## format every module
	@set -e; for m in $(MODULES); do cd $(ROOT)/$$m; $(TOOL) golangci-lint fmt -c $(ROOT)/.golangci.yml; done

# Go's fuzzer sometimes takes the end of its own time for a failure. An input that
# fails is kept, and fails again.
fuzz: ## run each fuzz target for FUZZTIME (5s)
	@$(GO) test -list '^Fuzz' ./... > $(ROOT)/fuzz.out
	@awk '/^Fuzz/ { names[++n] = $$1 } $$1 == "ok" { for (i = 1; i <= n; i++) print $$2, names[i]; n = 0 }' $(ROOT)/fuzz.out > $(ROOT)/targets.out
	@test -s $(ROOT)/targets.out || { echo "no fuzz target found" >&2; exit 1; }
	@set -e; while read -r package target; do \
		echo "== fuzz $$package $$target"; \
		run() { $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null; }; \
		run || run; \
	done < $(ROOT)/targets.out
	@echo "$$(wc -l < $(ROOT)/targets.out) fuzz targets, $(FUZZTIME) each"

bench: bench/node/node_modules/.done ## everything against its peers: a table and a plot in bench/results (about 25 minutes)
	cd bench && $(GO) run .

bench-quick: bench/node/node_modules/.done ## the loads that say most, once (about 2 minutes)
	cd bench && $(GO) run . -quick

bench-cluster: bench/node/node_modules/.done ## three servers in a cluster, beside those of Node on the same Redis (about 6 minutes)
	cd bench && $(GO) run . cluster

bench-go: ## the benchmarks of the packages, with allocations, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./...

vuln: ## known vulnerabilities in what we depend on (asks vuln.go.dev)
	$(TOOL) govulncheck ./...
