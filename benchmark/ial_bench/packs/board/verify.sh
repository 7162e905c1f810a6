#!/usr/bin/env bash
# Every number of every pack, computed anew. Names what does not follow; exits with 1 then.
set -euo pipefail
export IAL_BENCH_DATA="${IAL_BENCH_DATA:-$PWD/data}"
bash datasets.sh
failed=0
for folder in packs/*/; do
  packs=("$folder"*.ialpack)
  test -e "${packs[0]}" || continue
  bench results verify "${packs[@]}" --dataset "$(basename "$folder")" || failed=1
done
exit "$failed"
