#!/usr/bin/env bash
# The packs merged into ./results, and the pages in ./site.
set -euo pipefail
export IAL_BENCH_DATA="${IAL_BENCH_DATA:-$PWD/data}" IAL_BENCH_RESULTS="${IAL_BENCH_RESULTS:-$PWD/results}"
bash datasets.sh
for folder in packs/*/; do
  packs=("$folder"*.ialpack)
  test -e "${packs[0]}" || continue
  bench results merge "${packs[@]}" --dataset "$(basename "$folder")"
done
bench report --out site
