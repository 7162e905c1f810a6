#!/usr/bin/env bash
# Versions: Pillow 13.0.0 (its wheel), numpy 2.4.6, Linux.
# Behaviour: what decoding one photo takes hangs on its format, and not on its pixels alone. Above the 4 bytes a pixel that
#   Pillow keeps of any colour image, a baseline JPEG and a PNG take next to nothing; a progressive JPEG without subsampling
#   takes 6 more, and AVIF, WebP and JPEG 2000 hold the image several times over: a loader whose memory was measured on
#   JPEGs takes four times as much on the same photos as WebP.
# Expected: about the decoded image and a few rows, whatever the format.
# Seen:
#   JPEG, baseline: 4.0 bytes a pixel at the peak
#   JPEG, progressive, 4:4:4: 10.0 bytes a pixel at the peak
#   PNG: 4.0 bytes a pixel at the peak
#   WebP: 16.2 bytes a pixel at the peak
#   AVIF: 9.4 bytes a pixel at the peak
#   JPEG 2000: 19.4 bytes a pixel at the peak
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q pillow==13.0.0 numpy==2.4.6
cd "$tmp"
cat > decode.py <<'PY'
import sys
from pathlib import Path

from PIL import Image

STATUS = Path("/proc/self/status")


def told(key: str) -> int:
    return int(STATUS.read_text().partition(f"{key}:")[2].split()[0]) * 1024


Image.init()
Image.new("RGB", (8, 8)).save("warm.bin", sys.argv[2])  # the codec's library is loaded
with Image.open("warm.bin") as image:
    image.load()
data = Path(sys.argv[1])
Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
before = told("VmRSS")
with Image.open(data) as image:
    pixels = image.width * image.height
    image.load()
    print((told("VmHWM") - before) / pixels)
PY
"$tmp/v/bin/python" - <<'PY'
import subprocess
import sys

import numpy as np
from PIL import Image, features

side = 3000
ramp = np.arange(side) % 251
photo = Image.fromarray(np.stack([np.add.outer(ramp, ramp) % 256, np.add.outer(ramp, 2 * ramp) % 256,
                                  np.add.outer(2 * ramp, ramp) % 256], axis=2).astype(np.uint8))
kinds = {
    "JPEG, baseline": ("JPEG", {"quality": 90}),
    "JPEG, progressive, 4:4:4": ("JPEG", {"quality": 90, "progressive": True, "subsampling": 0}),
    "PNG": ("PNG", {"compress_level": 1}),
    "WebP": ("WEBP", {"quality": 90, "method": 0}),
    "AVIF": ("AVIF", {"quality": 80, "speed": 10}),
    "JPEG 2000": ("JPEG2000", {}),
}
taken = {}
for kind, (form, options) in kinds.items():
    photo.save("photo.bin", form, **options)
    done = subprocess.run([sys.executable, "decode.py", "photo.bin", form], capture_output=True, text=True, check=True)
    taken[kind] = float(done.stdout)
    print(f"{kind}: {taken[kind]:.1f} bytes a pixel at the peak")
assert taken["JPEG, baseline"] < 5, taken
assert taken["PNG"] < 6, taken
assert all(taken[kind] > 2 * taken["JPEG, baseline"] for kind in ("WebP", "AVIF", "JPEG 2000")), taken
PY
