"""image.py NAME FOLDER COMMAND…: a container image of one layer, as an archive that containerd imports."""

import hashlib
import io
import json
import sys
import tarfile

name, folder, *command = sys.argv[1:]
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as layer:
    layer.add(folder, arcname=".")
config = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(packed.getvalue()).hexdigest()}"]},
    }
).encode()
title = f"{hashlib.sha256(config).hexdigest()}.json"
manifest = json.dumps([{"Config": title, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
    for path, data in ((title, config), ("layer.tar", packed.getvalue()), ("manifest.json", manifest)):
        entry = tarfile.TarInfo(path)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
