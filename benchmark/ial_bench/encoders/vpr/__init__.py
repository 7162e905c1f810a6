"""Published encoders of visual place recognition (VPR), in the weights that their authors released.

To add one: its rows in `published.PUBLISHED`; for another architecture also a module here, with the network, `HEAD` and
`build`, and its entry in `load.FAMILIES`.
"""
