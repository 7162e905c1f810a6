"""Encoders: photos, and texts where there is a text tower, to features.

`spec` reads an encoder's name, and `load` makes an `Encoder` of it: a model of `openclip`, a `timm_backbone`, or a
published encoder of visual place recognition, in `vpr`. `image_tower` and `towers` are those that methods train.
"""
