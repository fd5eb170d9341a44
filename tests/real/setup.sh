#!/bin/sh
# setup.sh FOLDER: vLLM for CPUs with NIXL and a tiny model, for tests with the real engine. Needs Python 3.11 or later,
# 2.5 GB, and about two minutes on two cores. What is there is kept, as long as it is what the kit says.
set -eu
kit=$(cd "$(dirname "$0")/kit" && pwd)
folder=$1
python=$folder/venv/bin/python
stamp() { echo "$folder/$1-$(sha256sum < "$kit/$1" | cut -c 1-16)"; }
if [ ! -e "$(stamp requirements.txt)" ]; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vLLM for CPUs needs Python 3.11" >&2; exit 1; }
    python3 -m venv --clear "$folder/venv"
    "$python" -m pip install -q --no-deps --no-compile -r "$kit/requirements.txt"
    # Engines start in half the time when everything is compiled; files for other Pythons among it do not compile.
    env -u PYTHONDONTWRITEBYTECODE "$python" -m compileall -q -j 2 "$folder/venv/lib" || true
    touch "$(stamp requirements.txt)"
fi
"$python" "$kit/metadata.py"
if [ ! -e "$(stamp model.py)" ]; then
    "$python" "$kit/model.py" "$folder/model"
    touch "$(stamp model.py)"
fi
