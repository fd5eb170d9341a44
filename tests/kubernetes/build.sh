#!/bin/bash
# Builds a Kubernetes 1.20.2 for the tests from Debian's packages, once: some five minutes on two cores, root, 2 GB meanwhile.
# Into $1/bin: API server, controller manager, scheduler and kubelet, compiled; etcd, containerd and busybox, unpacked.
# The machine's own packages and lists stay as they are.
set -euo pipefail
lab=$1
version=1.20.5+really1.20.2-1.1+deb12u1
mirror=$(awk '$1 == "URIs:" {print $2; exit}' /etc/apt/sources.list.d/debian.sources)
origin="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror"
mkdir -p "$lab"/{apt/lists/partial,apt/cache/archives/partial,packages,root,src,bin}

fetch() {
  apt-get -q -o Dir::Etc::sourcelist="$lab/apt/sources.list" -o Dir::Etc::sourceparts=/nonexistent \
    -o Dir::State::lists="$lab/apt/lists" -o Dir::Cache="$lab/apt/cache" -o APT::Sandbox::User=root "$@"
}

cd "$lab/packages"
printf 'deb %s bookworm main\ndeb-src %s bookworm main\ndeb %s bullseye main\n' "$origin" "$origin" "$origin" > "$lab/apt/sources.list"
fetch update
# Go 1.15 is what this version was built with: with a newer one its API server misreads custom resources.
fetch download golang-1.15-go/bullseye golang-1.15-src/bullseye etcd-server/bookworm containerd/bookworm busybox-static/bookworm
fetch source --download-only "kubernetes=$version"
for package in *.deb; do dpkg -x "$package" "$lab/root"; done
[ -d "$lab/src/kubernetes" ] || dpkg-source -x kubernetes_*.dsc "$lab/src/kubernetes"

export PATH="$lab/root/usr/lib/go-1.15/bin:$PATH" HOME="$lab" GOCACHE="$lab/gocache" GOPATH="$lab/gopath"
export GO111MODULE=off GOPROXY=off CGO_ENABLED=0 GOFLAGS=-p=2
mkdir -p "$GOPATH/src/k8s.io"
ln -sfn "$lab/src/kubernetes" "$GOPATH/src/k8s.io/kubernetes"
cd "$GOPATH/src/k8s.io/kubernetes"

if [ ! -s pkg/generated/openapi/zz_generated.openapi.go ]; then # the one generated file that the source lacks
  go build -o "$lab/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  packages=$(grep -rl --include='*.go' '+k8s:openapi-gen=' vendor/k8s.io/*/ pkg cmd plugin |
    grep -v -e _test.go -e zz_generated -e /generated/ -e vendor/k8s.io/code-generator/ -e vendor/k8s.io/sample \
      -e vendor/k8s.io/gengo -e vendor/k8s.io/kube-openapi | xargs -n1 dirname | LC_ALL=C sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd,)
  "$lab/openapi-gen" --logtostderr -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$lab/violations"
  diff <(sort "$lab/violations") <(sort api/api-rules/violation_exceptions.list) # upstream's own check of the input
fi

stamp=
for module in component-base/version client-go/pkg/version; do
  at=k8s.io/kubernetes/vendor/k8s.io/$module
  stamp+=" -X $at.gitVersion=v1.20.2 -X $at.gitMajor=1 -X $at.gitMinor=20"
done
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet; do
  go build -trimpath -tags "providerless notest" -ldflags "-s -w $stamp" -o "$lab/bin/$program" "./cmd/$program"
done
cd "$lab/root"
cp usr/bin/{etcd,containerd,containerd-shim-runc-v2,ctr} bin/busybox "$lab/bin/"
rm -rf "$lab"/{gocache,gopath,src,root,packages,apt}
