"""One sshd that plays many hosts: 127.0.1.N is host N, with a home of its own. Needs no root.

Used by the transport's tests and by ``benchmarks/bench_fanout.py``.
"""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from waiting import until

from dplaunch.model.cluster import RuntimeSpec, SshSpec
from dplaunch.model.plan import NodePlan
from dplaunch.transport import Options

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")

CONFIG = """\
Port {port}
ListenAddress 0.0.0.0
AllowUsers {user}@127.0.0.0/8
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PidFile none
MaxStartups 1000
{hosts}"""

CLIENT = """\
Host *
    Port {port}
    User {user}
    IdentityFile {folder}/key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    LogLevel ERROR
"""


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def make_key(path: Path, passphrase: str = "") -> Path:
    """An ed25519 key pair."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path), "-C", path.name]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path


class LoopbackSshd:
    """``with LoopbackSshd(folder, hosts=4) as sshd: connect(sshd.node(1), options=sshd.options())``."""

    def __init__(self, folder: Path, hosts: int = 4, path: str = os.defpath) -> None:
        self.folder = folder
        self.hosts = hosts
        self.port = free_port()
        self.user = getpass.getuser()
        self.key = make_key(folder / "key")
        make_key(folder / "host_key")
        self.known_hosts = folder / "known_hosts"
        self.config = folder / "ssh_config"
        (folder / "authorized_keys").write_bytes((folder / "key.pub").read_bytes())
        kind, blob, *_ = (folder / "host_key.pub").read_text().split()
        self.host_key = f"{kind} {blob}"
        self.known_hosts.write_text("".join(f"{self.name(n)} {self.host_key}\n" for n in self.numbers))
        names = {"port": self.port, "user": self.user, "folder": folder}
        self.config.write_text(CLIENT.format(**names))
        blocks = "".join(self._host(n, path) for n in self.numbers)
        (folder / "sshd_config").write_text(CONFIG.format(hosts=blocks, **names))
        self._process: subprocess.Popen[bytes] | None = None

    def _host(self, number: int, path: str) -> str:
        self.home(number).mkdir()
        return (
            f"Match LocalAddress {self.address(number)}\n"
            f"    SetEnv HOME={self.home(number)} XDG_STATE_HOME={self.home(number)}/state"
            f" PATH={self.home(number)}/bin:{path}\n"
        )

    @property
    def numbers(self) -> range:
        """Hosts count from 1."""
        return range(1, self.hosts + 1)

    def address(self, number: int) -> str:
        """Where host N listens."""
        return f"127.0.1.{number}"

    def name(self, number: int) -> str:
        """Host N as known_hosts names it."""
        return f"[{self.address(number)}]:{self.port}"

    def home(self, number: int) -> Path:
        """Its home; ``home/bin`` is first in its PATH."""
        return self.folder / f"home{number}"

    def node(self, number: int, *, runtime: RuntimeSpec | None = None, **ssh: object) -> NodePlan:
        """Host N as a plan has it; ``ssh`` are fields of SshSpec."""
        return NodePlan(
            name=f"n{number}",
            host=self.address(number),
            address=self.address(number),
            ssh=SshSpec(**ssh),
            runtime=runtime or RuntimeSpec(),
            files=(),
            processes=(),
        )

    def options(self, **changes: object) -> Options:
        """Options that read our ssh_config and nothing of the user's."""
        return Options(**{"ssh_config": str(self.config), **changes})

    def write_config(self, name: str, *lines: str) -> str:
        """Another ssh_config: these lines first (ssh takes the first value), then ours. Its path."""
        path = self.folder / name
        path.write_text("\n".join([*lines, self.config.read_text()]))
        return str(path)

    def __enter__(self) -> "LoopbackSshd":  # noqa: PYI034 - Python 3.10 has no Self
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd started by root asks for it
        log = (self.folder / "sshd.log").open("wb")
        argv = [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._listens, 10.0)
        return self

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((self.address(1), self.port)) == 0

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            for pid in self.sessions():
                with suppress(ProcessLookupError):  # the last test's may be ending by itself
                    os.kill(pid, 15)
            self._process.terminate()
            self._process.wait(10)

    def sessions(self) -> Sequence[int]:
        """Pids of sshd's children: one per connection."""
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]
