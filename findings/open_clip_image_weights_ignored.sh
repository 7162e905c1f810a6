#!/usr/bin/env bash
# Versions: open_clip_torch 3.3.0, timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: pretrained_image_path does not look whether a file fits the image tower. Given a whole checkpoint of
#   the same RN50 none does (the tower's begin with "visual." in it): not one number changes, the tower stays random,
#   and the log says that the model is initialized partially, the very words of a load that worked.
# Expected: the image tower's part is taken, or an error that no key fits.
# Seen:
#   tower.pt: as in the file True, as without a file False, told ['Model RN50 initialized partially.']
#   whole.pt: as in the file False, as without a file True, told ['Model RN50 initialized partially.']
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 open_clip_torch==3.3.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import logging

import open_clip
import torch

logged = []
logging.getLogger().addHandler(type("H", (logging.Handler,), {"emit": lambda _, r: logged.append(r)})())

def made(seed, **where):
    torch.manual_seed(seed)
    logged.clear()
    return open_clip.create_model("RN50", **where)

def equal(a, b):
    return all(torch.equal(v, w) for v, w in zip(a.visual.state_dict().values(), b.visual.state_dict().values()))

trained, fresh = made(0), made(1)
torch.save(trained.state_dict(), "whole.pt")
torch.save(trained.visual.state_dict(), "tower.pt")
for file in ("tower.pt", "whole.pt"):
    model = made(1, pretrained_image_path=file)
    told = [r.getMessage() for r in logged if r.levelno >= logging.WARNING]
    print(f"{file}: as in the file {equal(model, trained)}, as without a file {equal(model, fresh)}, told {told}")
    assert equal(model, trained) == (file == "tower.pt") and equal(model, fresh) == (file == "whole.pt")
    assert told == ["Model RN50 initialized partially."]
PY
