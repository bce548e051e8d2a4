# One command: what it runs is what CI runs.
CARGO ?= cargo

.PHONY: check fmt lint doc graph test bench install

check: fmt lint doc graph test

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

graph:
	$(CARGO) xtask graph

# Tests with cargo-nextest where it is installed, with cargo's own runner elsewhere.
test:
	$(CARGO) build --locked --workspace --bins
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --workspace --no-fail-fast; \
	else \
		$(CARGO) test --locked --workspace --no-fail-fast; \
	fi

bench:
	$(CARGO) build --locked --release --workspace --bins --examples
	python3 bench/run.py

PREFIX ?= $(HOME)/.local
install:
	$(CARGO) build --locked --release --package aegis-cli
	install -D -m 0755 target/release/aegis $(PREFIX)/bin/aegis
