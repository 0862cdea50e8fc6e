# `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

POSTGRES := ./deploy/development/throwaway-postgres.sh
POSTGRES_VERSIONS := ./deploy/development/postgres-versions.sh
POOLER := ./deploy/development/throwaway-pgbouncer.sh
BROWSER := ./deploy/development/browser.sh
MIGRATOR := cargo run --quiet --package migrator --
SCRIPTS = .ci/run $(shell find deploy k8s -name '*.sh')

# The tests choose their own settings: what the caller's shell holds for a running Bedplate stays out. The
# version of PostgreSQL that they are run beside is none: `make test POSTGRES_VERSION=17`.
NAMES := $(shell env | sed -n 's/^\([A-Z0-9_]*\)=.*/\1/p')
PREFIXES := $(shell sed -n 's/^#\([A-Z0-9]*_\).*=.*/\1/p' .env.example | sort -u)
CLEAN := $(addprefix -u ,$(filter-out HTTP_PROXY POSTGRES_VERSION,$(filter $(addsuffix %,$(PREFIXES)),$(NAMES))))
CARGO_TEST := cargo test --locked --all-features

.PHONY: help
help: ## Says what there is
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { \
	  echo 'cargo is not installed. Rust comes from https://rustup.rs:'; \
	  echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"; \
	  echo 'and needs a C compiler beside it (Debian, Ubuntu: sudo apt-get install gcc libc6-dev).'; \
	  exit 1; } >&2

# ---- Running -----------------------------------------------------------------------------------------

.PHONY: run
run: cargo ## Brings the database up to date and serves on it (nothing configured: the file bedplate.db)
	@cargo build --package migrator --package service
	@cargo run --quiet --package migrator -- up
	@cargo run --quiet --package service

.PHONY: bench
bench: cargo ## Measures a release build and prints Markdown tables
	@./deploy/bench/run.sh

# ---- Checking ----------------------------------------------------------------------------------------

# The tests keep what was said and what must not have been; the last step compares the two.
EVIDENCE := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/evidence
RUN_TESTS = rm -rf '$(EVIDENCE)'; \
	env $(CLEAN) BEDPLATE_TEST_EVIDENCE='$(EVIDENCE)' $(1) $(BROWSER) $(2) $(POSTGRES) run $(CARGO_TEST) $(ARGS); \
	./deploy/development/sweep-secrets.sh '$(EVIDENCE)' $(if $(ARGS),,all)

.PHONY: test
test: cargo ## Runs all tests, beside a throwaway PostgreSQL
	@$(call RUN_TESTS,,try)
	@$(BROWSER) find >/dev/null || true

.PHONY: test-long
test-long: cargo ## The same with hundreds of kills, a million rows and a browser
	@$(call RUN_TESTS,BEDPLATE_TEST_LONG=1,run)

.PHONY: test-postgres-versions
test-postgres-versions: cargo ## The same on PostgreSQL 14 to 18, those that are installed; fails where one is not
	@$(POSTGRES_VERSIONS) $(MAKE) --no-print-directory test

# The migrator has to refuse, the service to notice nothing. SQLite is no different there.
.PHONY: test-pgbouncer
test-pgbouncer: cargo ## The service's tests through a pgbouncer that pools transactions (PGBOUNCER=its path)
	@$(POOLER) find >/dev/null
	@env $(CLEAN) $(POSTGRES) run $(POOLER) run $(CARGO_TEST) -p migrator --test suite pooler:: -- --ignored
	@env $(CLEAN) $(BROWSER) try $(POSTGRES) run $(POOLER) run \
	  $(CARGO_TEST) -p service $(ARGS) -- --skip sqlite::

.PHONY: test-failover
test-failover: cargo ## DATABASE_URL=... KILL_LEADER='command': writes while the leader of a cluster goes
	@cargo build --quiet --package migrator --package service
	@env PROGRAMS='$(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug' ./deploy/failover-test.sh

.PHONY: test-citus
test-citus: cargo ## The tests of metrics, retention and the migrator on distributed snapshots (CITUS_DATABASE_URL, or Citus installed)
	@env $(CLEAN) CITUS_DATABASE_URL='$(CITUS_DATABASE_URL)' ./deploy/citus/test.sh $(ARGS)

.PHONY: test-browser
test-browser: cargo ## The tests in a browser alone; the screenshots are in target/tmp/browser
	@env $(CLEAN) $(BROWSER) run $(POSTGRES) run $(CARGO_TEST) --test browser $(ARGS)

.PHONY: browser
browser: ## Installs Chromium and chromedriver where they are missing
	@$(BROWSER) install

.PHONY: conformance
conformance: cargo ## Asks a running service all that its OpenAPI document allows and forbids (needs python3)
	@env $(CLEAN) ./deploy/development/conformance.sh

.PHONY: test-coming-from
test-coming-from: cargo ## Takes over databases that Alembic (needs python3) and what is installed of sqlx, dbmate, migrate and goose make
	@env $(CLEAN) ./deploy/development/coming-from.sh

.PHONY: manifests
manifests: ## Holds k8s/ and the Dockerfile against Kubernetes' schemas, checkov and hadolint (needs python3)
	@./deploy/check-manifests.sh

.PHONY: test-kubernetes
test-kubernetes: ## Tries the manifests on the cluster that kubectl talks to (the images have to be there)
	@./deploy/kubernetes-test.sh

.PHONY: restore-drill
restore-drill: cargo ## Loses a database and brings it back with the shipped commands, beside a throwaway PostgreSQL
	@cargo build --quiet --package migrator --package service
	@env PROGRAMS='$(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug' ./deploy/restore-drill.sh

.PHONY: test-compose
test-compose: ## Builds the images and tries docker-compose.yml on a Docker engine, from a fresh clone
	@./deploy/compose-test.sh

.PHONY: lint
lint: cargo ## Format, clippy, documentation; shellcheck, promtool and cargo-deny where they are installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked --quiet -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked --quiet
	@if command -v shellcheck >/dev/null; then echo 'shellcheck $(SCRIPTS)'; shellcheck $(SCRIPTS); \
	  else echo 'shellcheck is not installed: the scripts are only parsed'; \
	    for script in $(SCRIPTS); do bash -n "$$script"; done; fi
	@if command -v promtool >/dev/null; then echo 'promtool'; cd deploy/observability; \
	  promtool check config prometheus.yaml >/dev/null; promtool check rules rules.yaml >/dev/null; promtool test rules rules.test.yaml; \
	  else echo 'promtool is not installed: the alerts are not tried'; fi
	@if command -v cargo-deny >/dev/null; then $(MAKE) --no-print-directory deny; \
	  else echo 'cargo-deny is not installed: licences, bans and advisories are not checked'; fi

# The advisories are a Git repository elsewhere: where that cannot be reached, the rest still counts.
.PHONY: deny
deny: cargo
	cargo deny --locked check --hide-inclusion-graph bans licenses sources
	@if timeout 60 cargo deny --locked fetch db >/dev/null 2>&1; then \
	  echo 'cargo deny check advisories'; cargo deny --locked check --disable-fetch --hide-inclusion-graph advisories; \
	  else echo 'the advisory database cannot be reached: advisories are not checked'; fi

.PHONY: fmt
fmt: cargo ## Formats the Rust code
	@cargo fmt --all

# ---- The database, under the names known from other stacks ---------------------------------------------

.PHONY: db-init
db-init: cargo ## Makes the database where it is missing and brings it up to date
	@$(MIGRATOR) up

.PHONY: db-new
db-new: cargo ## NAME=add_colour: makes the files of a new migration
	@test -n '$(NAME)' || { echo 'say how it is called: make db-new NAME=add_colour' >&2; exit 2; }
	@$(MIGRATOR) new '$(NAME)'

.PHONY: db-upgrade
db-upgrade: cargo ## Applies what is pending; TO=3 goes no further than that
	@$(MIGRATOR) up $(if $(TO),--to '$(TO)')

.PHONY: db-downgrade
db-downgrade: cargo ## Takes the last migration back; STEPS=2 or TO=3 takes back more
	@$(MIGRATOR) down $(if $(STEPS),--steps '$(STEPS)') $(if $(TO),--to '$(TO)')

.PHONY: db-status
db-status: cargo ## Shows which migrations are applied
	@$(MIGRATOR) status

.PHONY: db-reset
db-reset: cargo ## Deletes everything in the database and starts anew (asks; YES=1 does not)
	@$(MIGRATOR) reset $(if $(YES),--yes)
