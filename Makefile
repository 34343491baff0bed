# wfd: see README.md. Every campaign is bounded; its bounds can be set on the
# command line, as in `make crash KILLS=1000`.

GO        ?= go
KILLS     ?= 200
CUTS      ?= 50
FAULTS    ?= 8
STATES    ?= 100000
TICKS     ?= 1000000
FUZZTIME  ?= 20s
BENCHTIME ?= 1s
EVENTS    ?= 300000
BENCHLIMIT ?= 5s
SOAK_RUNS    ?= 200000
SOAK_WAITING ?= 20000
SOAK_EVENTS  ?= 200000
SOAK_ITEMS   ?= 20000
SOAK_LIMIT   ?= 15m
SOAK_WATCH   ?= 60s
SOAK_DIR     ?=

.PHONY: help build demo test lint race bench soak crash mutants fuzz ui

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/wfd: one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/wfd ./cmd/wfd

demo: build ## run a real workflow, kill -9 the daemon in the middle, and watch it finish
	./examples/demo.sh bin/wfd

test: lint race demo ## everything that must pass: gofmt, vet, staticcheck, all tests with -race, the demo

lint: ## gofmt, vet and staticcheck
	@files=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [ -e "$$f" ] && echo "$$f"; done)); \
	if [ -n "$$files" ]; then echo "gofmt these files:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

ui: ## bundle the page anew (needs npm for the packages, and no Node to build wfd)
	cd cmd/wfd/internal/ui && npm ci --no-audit --no-fund && npx tsc
	$(GO) generate ./cmd/wfd/internal/ui

race: build ## all tests with the race detector, and a short round of kills
	WFD_TEST_BINARY=$(CURDIR)/bin/wfd $(GO) test -race -timeout 15m ./...
	WFD_TEST_BINARY=$(CURDIR)/bin/wfd $(GO) test -timeout 10m ./cmd/wfd/internal/workertest
	$(GO) test -timeout 10m -run TestCrashStates ./eventlog -states 20000
	$(GO) test -timeout 10m -run 'TestKill$$' ./cmd/wfd/internal/crash -kills 40
	bin/wfd sim --seed 1 --ticks 1000000

bench: build ## every workload of wfd bench beside the raw disk, then the packages' benchmarks
	for w in chain "chain --clients 1" "chain --clients 16" fanout recover idle replay list targets "log --steps 1" "log --steps 10" "log --steps 100" "log --steps 1000 --runs 500"; do \
		bin/wfd bench $$w --limit $(BENCHLIMIT) || exit 1; echo; done
	$(GO) test -run '^$$' -bench Large -benchtime $(BENCHTIME) -timeout 4h ./eventlog/audit -events $(EVENTS)
	$(GO) test -run '^$$' -bench . -skip Large -benchtime $(BENCHTIME) ./eventlog/... ./projection/... ./engine/... ./replay/...

soak: build ## build a large store of SOAK_RUNS runs (SOAK_DIR keeps it) and measure it beside a small one
	bin/wfd bench soak --runs $(SOAK_RUNS) --waiting $(SOAK_WAITING) --events $(SOAK_EVENTS) --items $(SOAK_ITEMS) \
		--limit $(SOAK_LIMIT) --watch $(SOAK_WATCH) $(if $(SOAK_DIR),--dir $(SOAK_DIR))

crash: ## kill the daemon KILLS times, cut the power CUTS times, fail system calls, simulate TICKS, and look whether the word was kept
	$(GO) test -count=1 -timeout 60m -v -run 'TestKill|TestNoticesLoss|UnderTheDaemon' ./cmd/wfd/internal/crash -kills $(KILLS) -cuts $(CUTS) -faults $(FAULTS)
	$(GO) test -count=1 -timeout 60m -v -run 'TestCrash$$|TestPowerCut|TestEverySystemCall|TestSwallowedWrites|TestCrashStates' ./eventlog -cuts $(CUTS) -faults $(FAULTS) -states $(STATES)
	$(GO) run ./cmd/wfd sim --seed 1 --ticks $(TICKS)

mutants: ## plant every bug of testdata/mutants.txt, one at a time, and see that the tests find it
	$(GO) test -count=1 -timeout 90m -v -run 'TestMutants$$' . -mutants

fuzz: ## every fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
		dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go 2>/dev/null); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done
