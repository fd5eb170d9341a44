#!/bin/bash
# cluster.sh up|down FOLDER: the Kubernetes that build.sh made, with two machines of eight devices each.
# up prints the path of its kubeconfig. Everything lies in FOLDER/run; addresses are 127.0.0.1 and 10.203.100-101.0/24.
set -euo pipefail
lab=$2 here=$(cd "$(dirname "$0")" && pwd)
run=$lab/run port=26443 etcd_port=26379
export KUBECONFIG=$run/kubeconfig PATH="$lab/bin:$PATH:/usr/sbin"
export AWS_EC2_METADATA_DISABLED=true # else the kubelet asks the address of AWS's metadata

begin() { # NAME COMMAND…: in the background, with its log and pid
  local name=$1
  shift
  setsid "$@" > "$run/log/$name.log" 2>&1 < /dev/null &
  echo $! > "$run/$name.pid"
}

await() { # COMMAND…: half a minute at most
  for _ in $(seq 150); do
    if "$@" > /dev/null 2>&1; then return; fi
    sleep 0.2
  done
  echo "not within 30 s: $*" >&2
  exit 1
}

certificates() {
  cd "$run/pki"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=lab-ca -keyout ca.key -out ca.crt
  certify apiserver /CN=kube-apiserver IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes.default.svc
  certify to-kubelet /O=system:masters/CN=apiserver-to-kubelet DNS:apiserver
  for n in 0 1; do certify "node-$n" "/O=system:nodes/CN=system:node:node-$n" "IP:10.203.$((100 + n)).1"; done
  openssl genrsa -out accounts.key 2048
}

certify() { # NAME SUBJECT NAMES
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3")
}

login() {
  local token
  token=$(openssl rand -hex 16)
  umask 077
  echo "$token,admin,1,\"system:masters\"" > "$run/pki/tokens.csv"
  cat > "$KUBECONFIG" << END
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://127.0.0.1:$port", certificate-authority: $run/pki/ca.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: lab, context: {cluster: lab, user: admin}}]
current-context: lab
END
}

control_plane() {
  local pki=$run/pki etcd=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$((etcd_port + 1))
  begin etcd etcd --data-dir "$run/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" --listen-peer-urls "$peer" \
    --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --unsafe-no-fsync --log-level warn
  # A loopback address cannot be an endpoint: nobody reconciles it. Without insecure-port=0 port 8080 is open to all.
  begin apiserver kube-apiserver --etcd-servers="$etcd" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port=$port \
    --insecure-port=0 --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 --allow-privileged \
    --authorization-mode=RBAC --token-auth-file="$pki/tokens.csv" --client-ca-file="$pki/ca.crt" --cert-dir="$pki" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/accounts.key" \
    --service-account-signing-key-file="$pki/accounts.key" --kubelet-certificate-authority="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/to-kubelet.crt" --kubelet-client-key="$pki/to-kubelet.key" --kubelet-preferred-address-types=InternalIP
  await kubectl get --raw /readyz
  begin controllers kube-controller-manager --kubeconfig="$KUBECONFIG" --port=0 --bind-address=127.0.0.1 --secure-port=$((port + 1)) \
    --cert-dir="$pki" --leader-elect=false --service-account-private-key-file="$pki/accounts.key" --root-ca-file="$pki/ca.crt"
  begin scheduler kube-scheduler --kubeconfig="$KUBECONFIG" --port=0 --bind-address=127.0.0.1 --secure-port=$((port + 2)) \
    --cert-dir="$pki" --leader-elect=false
  await kubectl -n default get serviceaccount default # before it no pod is admitted
}

machine() { # N
  local name=node-$1 net=10.203.$((100 + $1)) home=$run/node-$1
  mkdir -p "$home/cni"
  ip link add "dplk8s$1" type bridge
  ip addr add "$net.1/24" dev "dplk8s$1"
  ip link set "dplk8s$1" up
  cat > "$home/cni/10-lab.conflist" << END
{"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "bridge", "bridge": "dplk8s$1", "isGateway": true, "ipam":
 {"type": "host-local", "dataDir": "$home/addresses", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "$net.0/24"}]]}}]}
END
  cat > "$home/containerd.toml" << END
version = 2
root = "$home/root"
state = "$home/state"
[grpc]
  address = "$home/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "lab.invalid/pause:1"
  restrict_oom_score_adj = true # where a machine withholds CAP_SYS_RESOURCE
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$home/cni"
END
  # The proxy leads nowhere: an image is here, or it is not pulled.
  HTTPS_PROXY=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 begin "$name-containerd" containerd -c "$home/containerd.toml"
  await ctr -a "$home/c.sock" version
  for image in busybox pause; do ctr -a "$home/c.sock" -n k8s.io image import "$run/$image.tar" > /dev/null; done
  begin "$name-kubelet" kubelet --kubeconfig="$KUBECONFIG" --root-dir="$home/kubelet" --cert-dir="$home" --hostname-override="$name" \
    --node-ip="$net.1" --address="$net.1" --port=10250 --read-only-port=0 --healthz-port=0 --container-runtime=remote \
    --container-runtime-endpoint="unix://$home/c.sock" --cgroup-driver=cgroupfs --cgroup-root=/ --cgroups-per-qos=false \
    --enforce-node-allocatable= --fail-swap-on=false --eviction-hard= --make-iptables-util-chains=false \
    --image-gc-high-threshold=100 --image-gc-low-threshold=99 --max-open-files=1024 --node-status-update-frequency=2s \
    --client-ca-file="$run/pki/ca.crt" --tls-cert-file="$run/pki/$name.crt" --tls-private-key-file="$run/pki/$name.key" \
    --anonymous-auth=false --resolv-conf=/dev/null --cluster-dns=10.203.100.1 --cluster-domain=cluster.local
}

images() {
  mkdir -p "$run/image/bin" "$run/image/tmp"
  cp "$lab/bin/busybox" "$run/image/bin/"
  for applet in $("$lab/bin/busybox" --list); do [ "$applet" = busybox ] || ln -sf busybox "$run/image/bin/$applet"; done
  python3 "$here/image.py" lab.invalid/busybox:1 "$run/image" sh > "$run/busybox.tar"
  python3 "$here/image.py" lab.invalid/pause:1 "$run/image" sh -c 'trap "exit 0" TERM INT; while :; do sleep 3600 & wait $!; done' > "$run/pause.tar"
}

up() {
  mkdir -p "$run"/{pki,log}
  (certificates) 2> /dev/null
  (login)
  images
  control_plane
  for n in 0 1; do machine $n; done
  begin dns python3 "$here/dns.py" "https://127.0.0.1:$port" "$run/pki/tokens.csv" "$run/pki/ca.crt" 10.203.100.1
  for n in 0 1; do
    await kubectl get node "node-$n"
    kubectl wait --for=condition=Ready "node/node-$n" --timeout=60s > /dev/null
    kubectl patch node "node-$n" --subresource=status --type=merge -p '{"status": {"capacity": {"huawei.com/Ascend910": "8"}}}' > /dev/null
    await sh -c "kubectl get node node-$n -o jsonpath='{.status.allocatable}' | grep -q Ascend910.*8"
  done
  echo "$KUBECONFIG"
}

end() { # NAME
  [ -f "$run/$1.pid" ] || return 0
  local pid
  pid=$(cat "$run/$1.pid")
  kill "$pid" 2> /dev/null || true
  for _ in $(seq 30); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
  kill -9 "$pid" 2> /dev/null || true
}

down() {
  [ -d "$run" ] || return 0
  # Pods first, while the kubelets live: they take down the network of each.
  timeout 30 kubectl delete pods -A --all --grace-period=1 --wait=false > /dev/null 2>&1 || true
  for _ in $(seq 80); do [ -n "$(tasks)" ] || break; sleep 0.25; done
  for n in 0 1; do
    end "node-$n-kubelet"
    for task in $(ctr -a "$run/node-$n/c.sock" -n k8s.io task ls -q 2> /dev/null); do
      ctr -a "$run/node-$n/c.sock" -n k8s.io task rm -f "$task" > /dev/null 2>&1 || true
    done
    end "node-$n-containerd"
    ip link del "dplk8s$n" 2> /dev/null || true
  done
  for name in dns scheduler controllers apiserver etcd; do end $name; done
  awk -v below="$run/" 'index($2, below) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount
  rm -rf "$run"
}

tasks() { for n in 0 1; do ctr -a "$run/node-$n/c.sock" -n k8s.io task ls -q 2> /dev/null || true; done; }

"$1"
