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

doc:
    ./test doc

deny:
    ./test deny

sim:
    ./test sim

e2e:
    ./test e2e

# Figures, and with --with-references their ratios to the references
bench *ARGS:
    cargo run --release -p coracle-bench -- {{ARGS}}
