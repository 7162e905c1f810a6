#!/usr/bin/env bash
# Versions: open_clip_torch 3.3.0, timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: add_model_config with a file named like a built-in model (ViT-B-32.json) replaces the built-in one for
#   the whole process, without a word: the name now means another network, here with QuickGELU and one layer less,
#   while its list of published tags stays.
# Expected: an error, or a warning that a name is taken.
# Seen:
#   before: quick_gelu False, 12 layers
#   after: quick_gelu True, 11 layers
#   models listed 144 -> 144, lines logged 0
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 open_clip_torch==3.3.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import json
import logging
import warnings

import open_clip

name = "ViT-B-32"
before, tags = open_clip.get_model_config(name), open_clip.list_pretrained_tags_by_model(name)
count = len(open_clip.list_models())
changed = {**before, "quick_gelu": True, "vision_cfg": {**before["vision_cfg"], "layers": 11}}
with open(f"{name}.json", "w") as file:
    json.dump(changed, file)
logged = []
logging.getLogger().addHandler(type("H", (logging.Handler,), {"emit": lambda _, r: logged.append(r)})())
logging.getLogger().setLevel(logging.DEBUG)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    open_clip.add_model_config(f"{name}.json")
after = open_clip.get_model_config(name)
for text, c in (("before", before), ("after", after)):
    print(f"{text}: quick_gelu {c.get('quick_gelu', False)}, {c['vision_cfg']['layers']} layers")
print(f"models listed {count} -> {len(open_clip.list_models())}, lines logged {len(logged)}")
assert after == changed != before and not logged
assert len(open_clip.list_models()) == count and open_clip.list_pretrained_tags_by_model(name) == tags
PY
