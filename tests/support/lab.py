"""The lab: hosts h1 … hN on one wire, each a machine of its own as far as ssh can tell. Needs root.

One holder process owns it all: network, mount, host-name and process namespaces. Inside it a bridge
stands for the switch, and the place of the holder for the operator's machine (192.0.2.254). Each
host has its own network, mounts, host name, process numbers, boot id, sshd, host key, ``/tmp``,
``/dev/shm`` and home; the rest of the machine's files it sees read-only. Homes are on tmpfs and
outlive a power cycle, as disks do. When the holder ends, however it ends, the kernel ends and frees
everything else.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from waiting import until

HOME = "/srv/home"
PATH = f"{HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OPERATOR_ADDRESS = "192.0.2.254"
KEPT = tuple(dict.fromkeys((str(Path(__file__).parents[2]), sys.prefix, sys.base_prefix)))

# What the tests run may lie where a machine of the lab has a folder of its own (a checkout below /tmp):
# kept aside at first, it is put back, read-only, wherever it went out of sight.
PUT_BACK = r"""
put_back() {
    for kept in /mnt/[0-9]*; do
        place=$(cat "/mnt/place-${kept#/mnt/}")
        [ ! -e "$place" ] || continue
        mkdir -p "$place"
        mount --bind "$kept" "$place"
        mount -o remount,bind,ro "$place"
    done
}
"""

# Arguments: number of hosts, size of a home, what the tests run. Then one line of stdin per host to boot; end of
# file ends the lab.
HOLDER = r"""
hosts=$1 size=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs /mnt
for place in "$@"; do
    number=$(ls /mnt | wc -l)
    mkdir "/mnt/$number"
    mount --bind "$place" "/mnt/$number"
    printf '%s' "$place" > "/mnt/place-$number"
done
echo operator > /proc/sys/kernel/hostname
mount -t tmpfs -o mode=755 tmpfs /srv
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /srv/lab /srv/disk /srv/home /run/netns
put_back
# Own homes under root's name, for programs that ask passwd and not HOME; and root may always log in by key.
sed 's#^\(root:[^:]*:0:0:[^:]*\):[^:]*:#\1:/srv/home:#' /etc/passwd > /srv/lab/passwd
sed 's#^root:[^:]*:#root:*:#' /etc/shadow > /srv/lab/shadow
mount --bind /srv/lab/passwd /etc/passwd
mount --bind /srv/lab/shadow /etc/shadow
{
    echo link set lo up
    echo link add wire type bridge
    echo addr add 192.0.2.254/24 dev wire
    echo link set wire up
    for n in $(seq "$hosts"); do
        echo netns add "h$n"
        echo link add "v$n" type veth peer name eth0 netns "h$n"
        echo link set "v$n" master wire up
    done
} | ip -batch -
echo 127.0.0.1 localhost > /srv/lab/hosts
for n in $(seq "$hosts"); do
    echo "192.0.2.$n h$n" >> /srv/lab/hosts
    mkdir -p "/srv/lab/h$n" "/srv/disk/h$n"
    mount -t tmpfs -o "mode=700,size=$size" tmpfs "/srv/disk/h$n"
done
mount --bind /srv/lab/hosts /etc/hosts
read -r pid _ < /proc/self/stat
echo "$pid"
while read -r n; do
    ip netns exec "h$n" unshare --mount --pid --uts --fork --kill-child sh -eu /srv/lab/host.sh "$n" < /dev/null &
done
"""

# Argument: the host's number. /proc is the outermost one until it is mounted anew: so the pid is what the tests see.
HOST = r"""
me=/srv/lab/h$1
read -r pid _ < /proc/self/stat
echo "h$1" > /proc/sys/kernel/hostname
printf '%s\n' 'link set lo up' "addr replace 192.0.2.$1/24 dev eth0" 'link set eth0 up' | ip -batch -
cat /proc/sys/kernel/random/uuid > "$me/boot_id"
mount --bind "/srv/disk/h$1" /srv/home
for own in /tmp /dev/shm /run; do mount -t tmpfs -o mode=1777 tmpfs "$own"; done
mkdir -m 755 /run/sshd
put_back
mount -t proc proc /proc
mount --bind "$me/boot_id" /proc/sys/kernel/random/boot_id
mount -o remount,bind,ro /
echo "$pid" > "$me/pid"
cd /
exec /usr/sbin/sshd -D -f "$me/sshd_config" -E "$me/sshd.log"
"""

SSHD = """\
ListenAddress 0.0.0.0
HostKey /srv/lab/{name}/host_key
AuthorizedKeysFile /srv/lab/authorized_keys
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PidFile none
Subsystem sftp internal-sftp
SetEnv PATH={path}
"""


@dataclass(frozen=True)
class Process:
    """A live process of the lab, numbered as outside."""

    pid: int
    command: str


class LabHost:
    """One machine of the lab. Made and booted by ``Lab``."""

    def __init__(self, lab: "Lab", number: int) -> None:
        self.lab = lab
        self.number = number
        self.name = f"h{number}"
        self.address = f"192.0.2.{number}"
        self.pid = 0  # of its first process, numbered as outside; 0 while it is off

    def run(self, argv: Sequence[str], *, timeout: float = 30.0) -> "subprocess.CompletedProcess[str]":
        """Run a command on the host without ssh, as somebody at its console would."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--net", "--pid"]
        return _run([*enter, "env", "-i", f"HOME={HOME}", f"PATH={PATH}", *argv], timeout=timeout)

    def path(self, inside: str) -> Path:
        """A path of the host, as this process can open it; ``~`` is the host's home."""
        return Path(f"/proc/{self.pid}/root{inside.replace('~', HOME, 1)}")

    def stub(self, name: str, script: str) -> None:
        """Put a program first in the PATH of everything that ssh starts on the host."""
        program = self.path(f"~/bin/{name}")
        program.parent.mkdir(exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)

    def processes(self) -> list[Process]:
        """What runs on the host beside its sshd and the sessions of it."""
        found = [] if not self.pid else _processes({self.space("pid")}, "pid")
        return [one for one in found if one.pid != self.pid and not one.command.startswith("sshd:")]

    def space(self, kind: str) -> str:
        """The name of its namespace of that kind (``pid``, ``net`` …)."""
        return str(Path(f"/proc/{self.pid}/ns/{kind}").readlink())

    def unplug(self) -> None:
        """Pull the cable: from now on silence, and no end of any connection."""
        self._wire("down")

    def plug(self) -> None:
        """Put the cable back."""
        self._wire("up")

    def power_off(self) -> None:
        """Cut the power: the wire goes silent first, then everything on the host dies at once."""
        self.unplug()
        space, pid, self.pid = self.space("pid"), self.pid, 0
        os.kill(pid, 9)
        until(lambda: not _processes({space}, "pid"))

    def power_on(self) -> None:
        """Boot it again: same home, new boot id."""
        self.plug()
        self.lab.boot([self])

    def fill(self) -> None:
        """Leave no free byte in the host's home."""
        free = os.statvfs(self.path("~"))
        with self.path("~/.fill").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)

    def free(self) -> None:
        """Take back what ``fill`` took."""
        self.path("~/.fill").unlink()

    def read_only(self, yes: bool = True) -> None:
        """Make the host's home read-only, or writable again."""
        done = self.run(["mount", "-o", f"remount,bind,{'ro' if yes else 'rw'}", HOME])
        assert done.returncode == 0, done.stderr

    def _wire(self, state: str) -> None:
        done = self.lab.run(["ip", "link", "set", f"v{self.number}", state])
        assert done.returncode == 0, done.stderr


class Lab:
    """``with Lab(8) as lab``: hosts h1 … h8 that answer ssh, gone without a trace afterwards.

    ``disk`` is the size of a host's home. Leaving fails when a process that was started with
    ``run`` or ``start`` still runs (it is killed then).
    """

    def __init__(self, hosts: int, *, disk: str = "64m") -> None:
        self.hosts = {f"h{n}": LabHost(self, n) for n in range(1, hosts + 1)}
        self.pid = 0
        self._disk = disk
        self._holder: subprocess.Popen[str] | None = None
        self._talk: IO[str] | None = None
        self._net = ""

    def __enter__(self) -> "Lab":  # noqa: PYI034 - typing.Self is not in Python 3.10
        self._talk = tempfile.TemporaryFile("w+")
        unshare = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        self._holder = subprocess.Popen(
            [*unshare, "sh", "-eu", "-c", PUT_BACK + HOLDER, "lab", str(len(self.hosts)), self._disk, *KEPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._talk,
            text=True,
            cwd="/",
        )
        try:
            self._build()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(AssertionError):
            until(lambda: not self._left(), 1.0)
        left = self._left()
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(one.pid, 9)
        self._end()
        if left and error is None:
            raise AssertionError(f"the operator's side of the lab still ran: {left}")

    def __getitem__(self, name: str) -> LabHost:
        return self.hosts[name]

    def run(
        self,
        argv: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        cwd: str = HOME,
        timeout: float = 60.0,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on the operator's machine (its own home; the machine's files as they are)."""
        return _run(self._at_operator(argv, env, cwd), timeout=timeout)

    def start(
        self, argv: Sequence[str], *, env: dict[str, str] | None = None, cwd: str = HOME
    ) -> "subprocess.Popen[str]":
        """Start a command there, with pipes. Its pid is the command's own: signals reach it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._at_operator(argv, env, cwd), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def path(self, inside: str) -> Path:
        """A path of the operator's machine, as this process can open it."""
        return Path(f"/proc/{self.pid}/root{inside.replace('~', HOME, 1)}")

    def boot(self, hosts: Sequence[LabHost]) -> None:
        """Boot hosts and wait until each one's sshd listens."""
        assert self._holder
        assert self._holder.stdin
        for host in hosts:
            for stale in ("pid", "sshd.log"):
                self.path(f"/srv/lab/{host.name}/{stale}").unlink(missing_ok=True)
            self._holder.stdin.write(f"{host.number}\n")
        self._holder.stdin.flush()
        try:
            until(lambda: all(self._listens(host) for host in hosts), 30.0)
        except AssertionError:
            raise AssertionError(f"the lab did not boot: {self._said()}") from None
        for host in hosts:
            host.pid = int(self.path(f"/srv/lab/{host.name}/pid").read_text())

    def _build(self) -> None:
        assert self._holder
        assert self._holder.stdout
        answer = self._holder.stdout.readline()
        if not answer:
            raise AssertionError(f"the lab could not be built: {self._said()}")
        self.pid = int(answer)
        self._net = str(Path(f"/proc/{self.pid}/ns/net").readlink())
        self._write_keys()
        self.path("/srv/lab/host.sh").write_text(PUT_BACK + HOST)
        self.boot(list(self.hosts.values()))

    def _write_keys(self) -> None:
        """Host keys and the operator's key, each known to the other side."""
        known = ""
        for host in self.hosts.values():
            place = self.path(f"/srv/lab/{host.name}")
            known += f"{host.name},{host.address} {_write_key(place / 'host_key')}\n"
            (place / "sshd_config").write_text(SSHD.format(name=host.name, path=PATH))
        ssh = self.path("~/.ssh")
        ssh.mkdir(mode=0o700)
        (ssh / "known_hosts").write_text(known)
        self.path("/srv/lab/authorized_keys").write_text(_write_key(ssh / "id_ed25519") + "\n")

    def _at_operator(self, argv: Sequence[str], env: dict[str, str] | None, cwd: str) -> list[str]:
        settings = {
            "HOME": HOME,
            "PATH": f"{Path(sys.executable).parent}:{PATH}",
            "LANG": "C.UTF-8",
            **(env or {}),
        }
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--net"]
        return [*enter, "env", "-i", "-C", cwd, *(f"{k}={v}" for k, v in settings.items()), *argv]

    def _left(self) -> list[Process]:
        """What runs on the operator's machine beside the holder."""
        assert self._holder
        return [one for one in _processes({self._net}, "net") if one.pid not in {self.pid, self._holder.pid}]

    def _listens(self, host: LabHost) -> bool:
        log = self.path(f"/srv/lab/{host.name}/sshd.log")
        return log.exists() and "Server listening" in log.read_text()

    def _said(self) -> str:
        assert self._talk
        self._talk.seek(0)
        return self._talk.read().strip() or "no reason given"

    def _end(self) -> None:
        assert self._holder
        assert self._talk
        self._holder.kill()  # its child, the first process of the lab, dies with it, and all others with that
        self._holder.communicate()
        self._talk.close()
        until(lambda: not self._net or not _processes({self._net}, "net"))


def _write_key(path: Path) -> str:
    """Write a new key for OpenSSH; the public half as a line."""
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _run(argv: Sequence[str], *, timeout: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )


def _processes(spaces: set[str], kind: str) -> list[Process]:
    """Live processes whose namespace of that kind is among these; a zombie is dead."""
    entries = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [one for one in (_process(entry, spaces, kind) for entry in entries) if one]


def _process(entry: Path, spaces: set[str], kind: str) -> Process | None:
    with suppress(OSError):
        if str((entry / "ns" / kind).readlink()) in spaces and (command := (entry / "cmdline").read_bytes()):
            return Process(int(entry.name), command.replace(b"\0", b" ").decode(errors="replace").strip())
    return None
