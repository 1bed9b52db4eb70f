# The steps of ./test under their names, so that a red job is one command away.

# Everything, as CI runs it
default:
    ./test

fmt:
    ./test fmt

clippy:
    ./test clippy

test:
    ./test test

# The guests on a runtime without WASI 0.3
p2:
    ./test p2

doc:
    ./test doc

deny:
    ./test deny

# Each parser for an hour, or for as long as FUZZ_SECONDS says
fuzz:
    FUZZ_SECONDS="${FUZZ_SECONDS:-3600}" ./test fuzz

sim:
    ./test sim

e2e:
    ./test e2e

# Kubernetes' own conformance suite, which writes specs/conformance.md; takes an hour and needs Go
conformance *ARGS:
    cargo run -p coracle-conformance -- {{ARGS}}

# The Gateway API's conformance suite, which writes specs/gateway-conformance.md; needs Go, and ports 80 and 443
gateway-conformance *ARGS:
    cargo run -p coracle-conformance -- --gateway {{ARGS}}

# Figures, and with --with-references their ratios to the references
bench *ARGS:
    cargo run --release -p coracle-bench -- {{ARGS}}
