#!/bin/sh
# Runs the tests on every rung that this machine can climb; the others are listed first.
# Rungs 3 (sshd on loopback) and 4 (the lab) need root and a few Debian packages.
set -eu
cd "$(dirname "$0")/.."

lacking() { # programs of those packages that are not here, as package names
    [ -x /usr/sbin/sshd ] || echo openssh-server
    command -v ssh > /dev/null || echo openssh-client
    command -v ip > /dev/null || echo iproute2
    command -v podman > /dev/null || echo podman # for runtime.container; runc because it runs on every cgroup
    command -v runc > /dev/null || echo runc
    command -v redis-check-rdb > /dev/null || echo redis-tools # is redis-server by another name, and no service
}

left_out=
if [ "$(id -u)" != 0 ]; then
    left_out="rungs 3 and 4 (tests marked sshd or lab): they need root"
else
    wanted=$({ lacking; command -v curl > /dev/null || echo curl; } | tr '\n' ' ') # the README asks with curl
    if [ -n "$wanted" ] && command -v apt-get > /dev/null; then
        echo "Installing $wanted…"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # one word per package
        { apt-get update -qq && apt-get install -qq --yes --no-install-recommends $wanted > /dev/null; } ||
            echo "apt-get could not install them."
    fi
    wanted=$(lacking | tr '\n' ' ')
    if [ -n "$wanted" ]; then
        left_out="rungs 3 and 4 (tests marked sshd or lab): they need ${wanted% }"
    elif ! unshare --net --mount --uts --pid --fork true 2> /dev/null; then
        left_out="rung 4 (tests marked lab): this machine lets nobody make namespaces"
    fi
fi

marks="not lab and not whole and not kubernetes"
case $left_out in rungs*) marks="$marks and not sshd" ;; esac
if [ -n "$left_out" ]; then
    echo "Left out: $left_out."
    if [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ]; then
        echo "CI is set: a rung that root cannot climb is a failure there." >&2
        exit 1
    fi
fi

# Rungs 0 to 3. Most tests wait for processes more than they compute: four at once, on two cores too.
.venv/bin/pytest -n 4 --dist worksteal -m "$marks"
# End to end: whole clusters on this machine, README's commands among them; then the lab.
.venv/bin/pytest -n 4 --dist load --maxschedchunk 1 -m whole tests/cli
if [ -z "$left_out" ]; then
    .venv/bin/pytest -m lab
fi
