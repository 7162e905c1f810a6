"""`python -m ial_bench.cli` is `bench`."""

from ial_bench.cli.main import main

main()
