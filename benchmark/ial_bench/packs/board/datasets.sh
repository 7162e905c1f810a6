#!/usr/bin/env bash
# The datasets that packs are verified against, in $IAL_BENCH_DATA: one line each.
set -euo pipefail
test -e "$IAL_BENCH_DATA/synth-city/dataset.toml" || bench data synth --name synth-city
