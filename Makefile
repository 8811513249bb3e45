# Every tool is built from a pinned Go module into .bin/; nothing else is downloaded. Needed on the
# machine: Go, make, git, bash, and a C compiler for the race detector.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# The same results in a clone, an unpacked archive or a folder that git does not trust, and under a
# folder with a workspace file.
export GOFLAGS := $(strip $(filter-out -buildvcs%,$(GOFLAGS)) -buildvcs=false)
export GOWORK := off

BIN := $(CURDIR)/.bin

# The programs of the whole stack; each is built once and kept in .bin/.
STACK := $(addprefix $(BIN)/,otelcol prometheus alertmanager loki jaeger)

# Every module of the repository; those that hold code; those whose tests need nothing but Go (fleet/redis needs Redis).
MODULES := $(shell find . -name go.mod -not -path '*/.*/*' -not -path '*/node_modules/*' | xargs -n 1 dirname | sort)
CODE    := $(filter-out ./tools/%,$(MODULES)) ./tools/release
LIGHT   := $(filter-out ./e2e ./e2e/% ./deploy/kubernetes ./fleet/redis,$(CODE))

# $(call each,MODULES,COMMAND) runs a command in every one of them and stops at the first failure.
each = for module in $(1); do echo "$$module: $(2)"; (cd $$module && $(2)); done

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the demo until Ctrl-C; flags by ARGS, as in ARGS="--listen 127.0.0.1:0"
	@mkdir -p $(BIN)
	@go build -o $(BIN)/demo ./cmd/demo
	@exec $(BIN)/demo $(ARGS)

.PHONY: demo-once
demo-once: ## Run one outage through the demo and check its result
	go run ./cmd/demo --once

# The bounds leave room for a machine that is busy with other things.
.PHONY: load
load: ## Drive the demo's upstream through a breaker, healthy and in an outage (15 s), and check what came of it
	@mkdir -p $(BIN)
	@go build -o $(BIN)/demo ./cmd/demo
	$(BIN)/demo load --scenario healthy --for 5s --rate 100 --expect-story --min-success 0.99 --max-p99 1s
	$(BIN)/demo load --scenario outage --for 10s --rate 100 --expect-story --min-success 0.6 --min-blocked 50 \
		--expect-open-within 1s --expect-recovery-within 2s

.PHONY: test
test: $(BIN)/gotestsum $(BIN)/prometheus $(BIN)/alertmanager $(BIN)/go-licenses ## Check and test everything that needs no collector
	@status=0; \
	$(MAKE) --no-print-directory --keep-going check || { status=1; echo "checks failed, see above; now the tests"; }; \
	tools/gotest "$(LIGHT)" -race || status=1; \
	exit $$status

.PHONY: check
check: format vet tidy lint deadcode api workflows ## Check all modules without running a test

.PHONY: rules
rules: $(BIN)/prometheus $(BIN)/alertmanager ## Test the alert rules, Alertmanager's configuration and the runbooks
	go test -C deploy/rulestest -count=1 ./...

.PHONY: kubernetes
kubernetes: $(addprefix $(BIN)/,gotestsum otelcol otelcol-balancing kubectl-validate) ## Check the manifests of deploy/kubernetes, and run their collectors
	@tools/gotest ./deploy/kubernetes -race -count=1

.PHONY: e2e
e2e: $(STACK) $(BIN)/gotestsum ## Test against the real collector, Prometheus, Alertmanager, Loki and Jaeger
	@# One package at a time: the incidents are in shortened time, and want the machine for themselves.
	@GOTESTSUM_FORMAT=standard-verbose tools/gotest ./e2e -race -count=1 -p 1 -timeout 20m

.PHONY: redis
redis: $(BIN)/gotestsum ## Test the fleet's engine on Redis against real servers; as root installs Redis where it is missing
	@tools/redis/install
	@tools/gotest ./fleet/redis -race -count=1

.PHONY: browser
browser: ## Test the demo's page in Chromium; needs Node.js, and as root installs Chromium where it is missing
	@e2e/browser/run

.PHONY: screenshots
screenshots: ## The same, and renew the pictures of the page in docs/images
	@SCREENSHOTS=$(CURDIR)/docs/images e2e/browser/run

.PHONY: kibana-types
kibana-types: ## Check deploy/kibana against the types of Elasticsearch's client (Node.js; seconds)
	@cd e2e/kibana && npm ci --silent && npm run --silent check

.PHONY: stack
stack: $(STACK) ## Run the real collector, Prometheus, Alertmanager, Loki and Jaeger with the demo until Ctrl-C; ARGS=-h
	@go build -o $(BIN)/demo ./cmd/demo
	@go build -C e2e -o $(BIN)/stack ./stack
	@exec $(BIN)/stack $(ARGS)

.PHONY: panels
panels: $(STACK) ## Draw the dashboards by Grafana's own components into docs/images; needs Node.js and Chromium
	e2e/panels/draw

.PHONY: signal
signal: $(STACK) ## Play the incidents against the stack (two minutes) and write what came of them into docs/signal.md
	go test -C e2e -count=1 -run '^TestIncidents$$' -v . -args -signal

.PHONY: fleet-figures
fleet-figures: ## Run fleets of a hundred replicas on the real engines (minutes) and write the figures into docs/fleet.md
	go test -C fleet/nats -count=1 -run '^TestFleetOfAHundred$$' -v . -args -figures ../../docs/fleet.md
	@tools/redis/install
	go test -C fleet/redis -count=1 -run '^TestFleetOfAHundred$$' -v . -args -figures ../../docs/fleet.md

.PHONY: fleet-telemetry
fleet-telemetry: $(STACK) ## Play 1,000 instances with 100 endpoints (half an hour, 12 GB), and write docs/fleet-telemetry.md
	go test -C e2e -count=1 -v -timeout 60m -run '^TestFleet_SentThroughTwoGateways$$' ./fleetsim -args -instances 1000 -endpoints 100 -hurry 1 -memory 16 -write
	go test -C e2e -count=1 -v -timeout 60m -run '^TestFleet_Costs$$' ./fleetsim -args -sizes 100,300,1000 -endpoints 100 -memory 16 -write
	go test -C e2e -count=1 -run '^TestFleet_FiguresAreInTheDocument$$' ./fleetsim -args -write

.PHONY: otelcol
otelcol: $(BIN)/otelcol ## Build the OpenTelemetry Collector that the tests use, into .bin/

.PHONY: prometheus
prometheus: $(BIN)/prometheus ## Build Prometheus and promtool, into .bin/

.PHONY: bench
bench: $(BIN)/benchstat ## Measure beside other breakers (minutes) and compare with the baseline in the tree
	benchmarks/run $(BIN)/bench.txt
	$(BIN)/benchstat -ignore commit,rounds baseline=benchmarks/results/peers.txt now=$(BIN)/bench.txt

.PHONY: bench-baseline
bench-baseline: $(BIN)/benchstat ## The same, to be the new baseline and the figures of docs/benchmarks.md
	benchmarks/run benchmarks/results/peers.txt
	$(BIN)/benchstat -format csv benchmarks/results/peers.txt 2>/dev/null | go run -C benchmarks ./report ../docs/benchmarks.md ../README.md

.PHONY: bench-own
bench-own: ## Run the benchmarks beside the code; the result also goes to .bin/bench-own.txt
	@mkdir -p $(BIN)
	go test -run '^$$' -bench . -benchmem ./... | tee $(BIN)/bench-own.txt

.PHONY: schedules
schedules: ## Drive the breaker and its reference model through a million random schedules, and fleets through thousands
	OTELBREAKER_SCHEDULES=1000000 OTELBREAKER_SEED=random go test -count=1 -timeout 60m -run TestG02_SchedulesMatchTheModel -v ./breaker
	OTELBREAKER_SCHEDULES=1000000 go test -C fleet -count=1 -timeout 60m -run TestF08 -v .

.PHONY: mutate
mutate: $(BIN)/gremlins ## Mutate breaker/, see what its tests let live (half an hour), and renew the table of docs/quality.md
	tools/gremlins/run breaker docs/quality.md

.PHONY: format
format: ## Check that all files are formatted
	@unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi

.PHONY: vet
vet: ## Run go vet in every module
	@$(call each,$(CODE),go vet ./...)

# But for those of Loki, Jaeger and two more: to look there means to fetch gigabytes that nothing here needs, and where
# something is missing in them they do not build.
.PHONY: tidy
tidy: ## Check that every go.mod and go.sum is tidy
	@$(call each,$(filter-out $(addprefix ./tools/,loki jaeger vulndb cyclonedx-gomod),$(MODULES)),go mod tidy -diff)

.PHONY: lint
lint: $(BIN)/golangci-lint ## Run the linters of .golangci.yml in every module
	@$(call each,$(CODE),$(BIN)/golangci-lint run --allow-parallel-runners --config $(CURDIR)/.golangci.yml ./...)

# After vet, which has compiled what this looks at.
.PHONY: api
api: ## Compare what the public modules offer with the record in api/: nothing removed or changed, nothing unrecorded
	@go run -C tools/release . api

.PHONY: api-record
api-record: ## Renew that record; what breaks users only with BREAKING=1
	@go run -C tools/release . api -record $(if $(BREAKING),-breaking)

.PHONY: workflows
workflows: $(BIN)/actionlint ## Check the workflows in .github
	@cd .github && $(BIN)/actionlint -shellcheck= -pyflakes= workflows/*.yml

# But for the collector: a list of its parts, whose hundreds of packages take longer than all else.
.PHONY: deadcode
deadcode: $(BIN)/deadcode ## Look for functions that neither a program nor a test reaches
	@tools/deadcode/run $(filter-out ./e2e/otelcol,$(CODE))

.PHONY: vuln
vuln: $(BIN)/govulncheck $(BIN)/vulndb ## Look for known vulnerabilities, at vuln.go.dev or else in the database that tools/vulndb pins
	@go run -C tools/release . vuln

.PHONY: licences
licences: $(BIN)/go-licenses ## Check the licences of all that the public modules link against an allow list
	@go run -C tools/release . licences

.PHONY: programs
programs: $(BIN)/cyclonedx-gomod ## Build the programs for PLATFORMS=linux/amd64,… into .bin/dist, with checksums and SBOMs
	@go run -C tools/release . programs -to $(BIN)/dist $(if $(PLATFORMS),-platforms $(PLATFORMS))

.PHONY: release-prepare
release-prepare: ## Set VERSION=vX.Y.Z in the sources and in the go.mod files of the nested modules
	@go run -C tools/release . prepare -version "$(VERSION)"

.PHONY: release-check
release-check: $(BIN)/govulncheck $(BIN)/vulndb $(BIN)/go-licenses $(BIN)/cyclonedx-gomod ## Tell all that is missing to release VERSION=vX.Y.Z (a quarter of an hour)
	@go run -C tools/release . check -version "$(VERSION)" $(if $(TAGGED),-tagged) $(if $(PLATFORMS),-platforms $(PLATFORMS))

.PHONY: cover
cover: ## Measure the tests' coverage of the public modules by package (minutes); of the root's lines: .bin/cover.html
	@mkdir -p $(BIN)
	@go run -C tools/release . cover
	@go tool cover -html=$(BIN)/cover-0.out -o $(BIN)/cover.html

.PHONY: cover-record
cover-record: ## The same, and renew the table of docs/quality.md
	@go run -C tools/release . cover -record

.PHONY: clean
clean: ## Remove what the targets above have built
	rm -rf $(BIN)

$(BIN)/otelcol-balancing: $(wildcard e2e/otelcol-balancing/*.go) e2e/otelcol-balancing/go.mod e2e/otelcol-balancing/go.sum
	@echo "building the OpenTelemetry Collector of the agents (once; minutes where Go's caches are empty)"
	@go build -C e2e/otelcol-balancing -o $@ .
	@touch $@

# A tool is a module under tools/ with a tool line of the same name; each has its own, for the
# versions that they require of the same modules conflict.
$(BIN)/%: tools/%/go.mod tools/%/go.sum
	@echo "building $* (once)"
	@go build -C tools/$* -o $(BIN)/ tool
	@touch $@

# Called indexdb there. The database itself is data in the same module.
$(BIN)/vulndb: tools/vulndb/go.mod tools/vulndb/go.sum
	@echo "building indexdb (once)"
	@go build -C tools/vulndb -o $@ golang.org/x/vulndb/cmd/indexdb
	@touch $@

# With promtool. Without the tags it brings in the SDK of every cloud that it can find its targets in.
$(BIN)/prometheus: tools/prometheus/go.mod tools/prometheus/go.sum
	@echo "building Prometheus (once; minutes and 3 GB of memory where Go's caches are empty)"
	@go build -C tools/prometheus -tags remove_all_sd,netgo -o $(BIN)/ tool
	@touch $@

# With amtool.
$(BIN)/alertmanager: tools/alertmanager/go.mod tools/alertmanager/go.sum
	@echo "building Alertmanager (once)"
	@go build -C tools/alertmanager -o $(BIN)/ tool
	@touch $@

$(BIN)/loki: tools/loki/go.mod tools/loki/go.sum
	@echo "building Loki (once; some five minutes where Go's caches are empty)"
	@go build -C tools/loki -o $(BIN)/ tool
	@touch $@

$(BIN)/jaeger: tools/jaeger/go.mod tools/jaeger/go.sum
	@echo "building Jaeger (once; minutes where Go's caches are empty)"
	@go build -C tools/jaeger -o $(BIN)/ tool
	@touch $@

$(BIN)/otelcol: $(wildcard e2e/otelcol/*.go) e2e/otelcol/go.mod e2e/otelcol/go.sum
	@echo "building the OpenTelemetry Collector (once; minutes where Go's caches are empty)"
	@go build -C e2e/otelcol -o $@ .
	@touch $@
