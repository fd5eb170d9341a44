#!/bin/sh
# Starts the container of n1, in which everything of c1 runs there. Made by dplaunch.
set -eu
state=${XDG_STATE_HOME:-$HOME/.local/state}
mkdir -p "$state/dplaunch"
stamp=$(sha256sum <"$0" | cut -c -16)
image=$(docker image inspect --format '{{.Id}}' quay.io/ascend/vllm-ascend:v0.23.0-a3)
exec docker run --detach --name dplaunch-c1-n1 \
  --label dplaunch.owner=c1/n1 \
  --env DPLAUNCH_CONTAINER="$stamp" --env DPLAUNCH_IMAGE="$image" \
  --env XDG_STATE_HOME="$state" --volume "$state/dplaunch:$state/dplaunch" \
  --network host --uts host \
  --ipc host \
  --device /dev/davinci0 --device /dev/davinci1 --device /dev/davinci2 --device /dev/davinci3 \
  --device /dev/davinci4 --device /dev/davinci5 --device /dev/davinci6 --device /dev/davinci7 \
  --device /dev/davinci8 --device /dev/davinci9 --device /dev/davinci10 --device /dev/davinci11 \
  --device /dev/davinci12 --device /dev/davinci13 --device /dev/davinci14 --device /dev/davinci15 \
  --device /dev/davinci_manager --device /dev/devmm_svm --device /dev/hisi_hdc \
  --ulimit memlock=-1:-1 \
  --mount type=bind,source=/usr/local/Ascend/driver,target=/usr/local/Ascend/driver,readonly \
  --mount type=bind,source=/usr/local/dcmi,target=/usr/local/dcmi,readonly \
  --mount type=bind,source=/usr/local/bin/npu-smi,target=/usr/local/bin/npu-smi,readonly \
  --mount type=bind,source=/etc/ascend_install.info,target=/etc/ascend_install.info,readonly \
  --mount type=bind,source=/etc/hccn.conf,target=/etc/hccn.conf,readonly \
  --mount type=bind,source=/data/weights,target=/data/weights,readonly \
  --entrypoint sh \
  quay.io/ascend/vllm-ascend:v0.23.0-a3 -c "trap 'exit 0' TERM; sleep infinity & wait"
