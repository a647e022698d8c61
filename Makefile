# The one door. `make demo` shows it, `make test` tests everything, `make help` lists the rest.

PREFIX ?= /usr/local
DESTDIR ?=
DEMO_PORT ?= 1883

.PHONY: help demo quick test console-test check mutants conformance autobahn crash powercut diskfull damage fuzz soak storm sanitize install bless clean bench bench-report bench-selftest bench-inprocess

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: ## build, host the broker from Python on 127.0.0.1:1883 (DEMO_PORT=...), run the story's two scripts
	@tools/demo.sh --port $(DEMO_PORT)

quick: ## what to run while working: formatting, library, engine, floors, header
	@cargo fmt --check
	@cargo test --quiet --all-features --lib --test engine --test floors --test header

test: ## build and run every test: Rust, C, Python, real clients, the console in a browser
	@tools/test.sh

console-test: ## the console: its API by schemathesis, Prometheus' parsers and curl, its pages in Chromium
	@tests/http/api/run.sh && tests/console/run.sh

check: ## formatting, lints, licences and dependencies
	@tools/check.sh

fuzz: ## random inputs for each fuzz target, 60 seconds each (SECONDS=...)
	@SECONDS_EACH=$(or $(SECONDS),60) tools/fuzz.sh

autobahn: ## the Autobahn test suite against the layer of WebSocket (needs Python 2.7: tests/autobahn/run.sh)
	@tests/autobahn/run.sh

conformance: ## test every statement of the MQTT specifications and write docs/CONFORMANCE.md
	@python3 tools/conformance.py

soak: ## the simulation at length: SEEDS=1000 random schedules
	@SIM_SEEDS=$(or $(SEEDS),1000) MIDGE_TEST_DEADLINE=0 cargo test --quiet --all-features --test simulation -- --nocapture

crash: ## kill -9 at random moments of random work, and what comes back: ROUNDS=300 SEED=1; first the control, which must fail
	@tests/crash/run.sh --control --rounds 20 --seed $(or $(SEED),1)
	@tests/crash/run.sh --rounds $(or $(ROUNDS),300) --seed $(or $(SEED),1)

powercut: ## the same with cut power, over an ext4 file system in a file (root): ROUNDS=40 SEED=1
	@tests/crash/run.sh --power --control --rounds 20 --seed $(or $(SEED),1)
	@tests/crash/run.sh --power --rounds $(or $(ROUNDS),40) --seed $(or $(SEED),1)

diskfull: ## a full disk and a failing one under load (root): ROUNDS=5 SEED=1
	@tests/crash/run.sh full --rounds $(or $(ROUNDS),5) --seed $(or $(SEED),1)
	@tests/crash/run.sh full --failing --rounds $(or $(ROUNDS),5) --seed $(or $(SEED),1)

damage: ## a bit flipped at random places of a store: harmless, or refused by the file's name: PLACES=1000
	@DAMAGE_PLACES=$(or $(PLACES),1000) cargo test --quiet --all-features --test durable damage:: -- --nocapture

storm: ## everything at once in Rust, C and Python, SECONDS=60 of it (STORM_SEED=1)
	@tests/storm/run.sh $(or $(SECONDS),60)

mutants: ## changes of src/ that no test notices: SEED=1 SAMPLE=100 FOLDERS=src/engine,src/session FILE=... REQUIRE=95
	@SEED='$(SEED)' SAMPLE='$(SAMPLE)' FOLDERS='$(FOLDERS)' FILE='$(FILE)' REQUIRE='$(REQUIRE)' tools/mutants.sh

bench: ## Midge beside the brokers that are installed and the floor: ROUNDS=5 SECONDS=3 ROWS=p2p,fairness PEERS=none
	@python3 benches/run.py --rounds $(or $(ROUNDS),5) --seconds $(or $(SECONDS),3) --rows '$(ROWS)' $(if $(PEERS),--peers '$(PEERS)') $(if $(BASE),--base '$(BASE)')

bench-report: ## write benches/RESULTS.md and its picture again, measuring nothing
	@python3 benches/run.py --report

bench-selftest: ## the load generator itself: against brokers with known faults, and every scenario against those installed
	@cd benches/load && cargo test --quiet
	@python3 benches/run.py --selftest

bench-inprocess: ## Midge inside a process beside libzmq, mosquitto and (RUMQTTD=yes) rumqttd: ROUNDS=5
	@python3 benches/inprocess/run.py

sanitize: ## C tests under AddressSanitizer and ThreadSanitizer, Rust tests under ThreadSanitizer, `unsafe` in Miri
	@tools/sanitize.sh $(KINDS)

install: ## header, libraries, pkg-config and CMake files, command, manual below PREFIX (and DESTDIR)
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) tools/install.sh

bless: ## write again what is generated and committed: header, Python declarations, CONFIGURATION.md
	@tools/bless.sh

clean: ## remove what was built
	cargo clean
	rm -rf build bindings/python/dist
