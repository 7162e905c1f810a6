"""The methods that come with ial-bench, written as a third party would write theirs.

They see only the public contract of `ial_bench` and are found through the same entry points as any plugin.
"""
