# The same names as the jobs of .ci/run: a red job is one command away.

# Everything, as CI runs it
default: fmt clippy test doc deny sim e2e

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

test:
    cargo test --workspace --exclude coracle-e2e

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

deny:
    tests/tools/cargo-deny check

sim:
    cargo test -p coracle-sim

e2e:
    cargo test -p coracle-e2e

# Figures, and their ratios to the references
bench *ARGS:
    cargo run --release -p coracle-bench -- {{ARGS}}
