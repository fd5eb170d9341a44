#!/bin/sh
# setup.sh FOLDER: vLLM for CPUs with NIXL and a tiny model, for tests with the real engine. Needs Python 3.11 or later,
# 2.5 GB, and about two minutes on two cores; once it is there it does nothing.
set -eu
kit=$(cd "$(dirname "$0")/kit" && pwd)
folder=$1
[ ! -e "$folder/complete" ] || exit 0
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vLLM for CPUs needs Python 3.11" >&2; exit 1; }
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-deps --no-compile -r "$kit/requirements.txt"
"$folder/venv/bin/python" "$kit/metadata.py"
# Engines start in half the time when everything is compiled; files for other Pythons among it do not compile.
env -u PYTHONDONTWRITEBYTECODE "$folder/venv/bin/python" -m compileall -q -j 2 "$folder/venv/lib" || true
"$folder/venv/bin/python" "$kit/model.py" "$folder/model"
touch "$folder/complete"
