# wfd: see README.md. Every campaign is bounded; its bounds can be set on the
# command line, as in `make crash KILLS=1000`.

GO        ?= go
KILLS     ?= 200
CUTS      ?= 50
FAULTS    ?= 14
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

# The tests in which processes are killed, system calls fail and the power is cut: under
# the log alone, and under the daemon.
LOGFAULTS = TestCrash$$|TestPowerCut|TestEverySystemCall|TestSwallowedWrites|TestCrashStates|TestFailedSync|TestFailedNote|TestOneSync|TestCommitCutShort|TestReadsTheDisk
# Tests of the log besides in which the race detector has nothing to see.
LOGALONE  = TestSealed|TestResealIsInterrupted|TestOlderDataKeys|TestEncrypted|TestFlippedBits
KEEPSWORD = TestKill|TestNoticesLoss|UnderTheDaemon

# What the binary says that it is, and for which systems a release is.
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
# What is compiled without the race detector is compiled once, for the binary, its tests
# and what looks at it: with a cold cache that is minutes.
PLAIN     = CGO_ENABLED=0 $(GO)
export GOFLAGS ?= -trimpath
# The same source gives the same bytes wherever it is built: no paths, no state of a
# checkout, no build ID of the linker.
BUILD     = $(PLAIN) build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.stamped=$(VERSION)"

.PHONY: help build demo test lint race race-scripts bench soak crash mutants fuzz ui man release reproducible vuln

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/wfd: one static binary
	$(BUILD) -o bin/wfd ./cmd/wfd

man: build ## write bin/man: a manual page per command
	rm -rf bin/man
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) bin/wfd man bin/man

release: man ## write bin/release: an archive per system of PLATFORMS, with manual pages, and SHA256SUMS
	rm -rf bin/release
	@set -e; for p in $(PLATFORMS); do \
		name=wfd-$(VERSION)-$${p%/*}-$${p#*/}; dir=bin/release/$$name; mkdir -p $$dir; \
		echo "$$name"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o $$dir/wfd ./cmd/wfd; \
		cp -r README.md LICENSE bin/man docs/packaging/wfd.service $$dir/; \
		tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=go=rX,u=rwX -C bin/release -cf - $$name | gzip -n -9 > $$dir.tar.gz; \
		rm -r $$dir; \
	done
	cd bin/release && sha256sum *.tar.gz > SHA256SUMS && cat SHA256SUMS

reproducible: ## build twice from two directories with nothing in common, and compare
	@set -e; t=$$(mktemp -d); trap 'chmod -R u+w '$$t'; rm -rf '$$t EXIT; \
	for d in a b/c; do \
		mkdir -p $$t/$$d; git archive HEAD | tar -x -C $$t/$$d; \
		(cd $$t/$$d && GOCACHE=$$t/cache-$$(basename $$d) $(BUILD) -o wfd ./cmd/wfd); \
	done; \
	sha256sum $$t/a/wfd $$t/b/c/wfd; cmp $$t/a/wfd $$t/b/c/wfd

demo: build ## run a real workflow, kill -9 the daemon in the middle, and watch it finish
	./examples/demo.sh bin/wfd

test: lint race demo ## everything that must pass: gofmt, vet, staticcheck, all tests with -race, the demo

lint: ## gofmt, vet and staticcheck
	@files=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [ -e "$$f" ] && echo "$$f"; done)); \
	if [ -n "$$files" ]; then echo "gofmt these files:"; echo "$$files"; exit 1; fi
	$(PLAIN) vet ./...
	$(PLAIN) tool staticcheck ./...

ui: ## bundle the page anew (needs npm for the packages, and no Node to build wfd)
	cd cmd/wfd/internal/ui && npm ci --no-audit --no-fund && npx tsc
	$(GO) generate ./cmd/wfd/internal/ui

# Where the race detector has nothing to see: a process with it takes a second to begin, and
# the scripts of the command line begin thousands, as do those who kill daemons; the rest
# starts no goroutine. They are tested without it, and the scripts with it in race-scripts.
PURE    = engine/machine projection/event replay/capsule
UNRACED = cmd/wfd cmd/wfd/internal/crash $(PURE)
none   :=
BUT     = $(subst $(none) $(none),|,$(strip $(UNRACED)))

race: build ## all tests, with the race detector where it has something to see, then a round of kills, faults and power cuts
	WFD_TEST_BINARY=$(CURDIR)/bin/wfd $(GO) test -race -timeout 15m $$($(GO) list ./... | grep -vE '/wfd/($(BUT))$$')
	WFD_TEST_BINARY=$(CURDIR)/bin/wfd $(PLAIN) test -timeout 15m ./cmd/wfd $(addprefix ./,$(PURE))
	WFD_TEST_BINARY=$(CURDIR)/bin/wfd $(PLAIN) test -timeout 10m ./cmd/wfd/internal/workertest
	$(PLAIN) test -timeout 30m -parallel 4 -run '$(LOGFAULTS)|$(LOGALONE)' ./eventlog -states 20000 -faults 27 -cuts 45
	WFD_TEST_BINARY=$(CURDIR)/bin/wfd $(PLAIN) test -timeout 30m -parallel 4 -run '$(KEEPSWORD)' ./cmd/wfd/internal/crash -kills 200 -faults 2 -cuts 6
	bin/wfd sim --seed 1 --ticks 1000000

race-scripts: build ## the command line's tests with the race detector
	WFD_TEST_BINARY=$(CURDIR)/bin/wfd $(GO) test -race -timeout 40m ./cmd/wfd

bench: build ## every workload of wfd bench beside the raw disk, then the packages' benchmarks
	for w in chain "chain --clients 1" "chain --clients 16" fanout recover idle replay list targets "log --steps 1" "log --steps 10" "log --steps 100" "log --steps 1000 --runs 500"; do \
		bin/wfd bench $$w --limit $(BENCHLIMIT) || exit 1; echo; done
	$(GO) test -run '^$$' -bench Large -benchtime $(BENCHTIME) -timeout 4h ./eventlog/audit -events $(EVENTS)
	$(GO) test -run '^$$' -bench . -skip Large -benchtime $(BENCHTIME) ./eventlog/... ./projection/... ./engine/... ./replay/...

soak: build ## build a large store of SOAK_RUNS runs (SOAK_DIR keeps it) and measure it beside a small one
	bin/wfd bench soak --runs $(SOAK_RUNS) --waiting $(SOAK_WAITING) --events $(SOAK_EVENTS) --items $(SOAK_ITEMS) \
		--limit $(SOAK_LIMIT) --watch $(SOAK_WATCH) $(if $(SOAK_DIR),--dir $(SOAK_DIR))

crash: ## kill the daemon KILLS times, cut the power CUTS times, fail system calls, simulate TICKS, and look whether the word was kept
	$(GO) test -count=1 -timeout 60m -v -parallel 4 -run '$(KEEPSWORD)' ./cmd/wfd/internal/crash -kills $(KILLS) -cuts $(CUTS) -faults $(FAULTS)
	$(GO) test -count=1 -timeout 60m -v -parallel 4 -run '$(LOGFAULTS)' ./eventlog -cuts $(CUTS) -faults $(FAULTS) -states $(STATES)
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

vuln: ## known vulnerabilities that the code can reach, where the database of Go can be asked
	@if curl -fsm 10 -o /dev/null https://vuln.go.dev/index/db.json; then \
		$(GO) run golang.org/x/vuln/cmd/govulncheck@latest ./...; \
	else echo "skipped: govulncheck (vuln.go.dev does not answer); TestDependencyFloors has the versions with known holes mended"; fi
