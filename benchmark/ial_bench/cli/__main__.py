"""`python -m ial_bench.cli` is `bench`."""

from ial_bench.cli.start import main

main()
