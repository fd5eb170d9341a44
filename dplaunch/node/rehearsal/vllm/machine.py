"""What the engine finds on its machine: devices, network interfaces, addresses."""

from __future__ import annotations

import socket

from .failure import FatalError
from .log import CORE
from .parallel import Parallel

DEVICE_LISTS = (("ASCEND_RT_VISIBLE_DEVICES", "npu"), ("CUDA_VISIBLE_DEVICES", "cuda"))
INTERFACES = ("GLOO_SOCKET_IFNAME", "HCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


class Machine:
    """What surrounds the engine: its environment, the release it stands for, the address it announces."""

    def __init__(self, env: dict[str, str], release: tuple[int, ...]) -> None:
        self.env = env
        self.release = release
        self.host = host_address(env)


def platform(env: dict[str, str]) -> str:
    """npu, cuda or cpu, by the device list that is set."""
    for name, kind in DEVICE_LISTS:
        if name in env:
            return kind
    return "npu" if env.get("DPLAUNCH_REHEARSAL_DEVICES") else "cpu"


def usable_devices(env: dict[str, str], parallel: Parallel) -> list[int]:
    """The devices that the engine occupies; none on a machine without any.

    Raises FatalError when fewer are visible than it needs, or one does not exist.
    """
    visible = _visible_devices(env)
    if visible is None:
        return []
    wanted = parallel.local_world * parallel.local
    available = max(0, len(visible) - parallel.devices_from)
    if available < wanted:
        raise FatalError(
            f"ValueError: World size ({wanted}) is larger than the number of available "
            f"{_devices_word(env)} ({available}) in this node. If this is intentional and you are using:\n"
            "- ray, set '--distributed-executor-backend ray'.\n"
            "- multiprocessing, set '--nnodes' appropriately."
        )
    return visible[parallel.devices_from :][:wanted]


def occupy(devices: list[int], machine: Machine) -> list[socket.socket]:
    """Hold the devices as long as the sockets live; raises FatalError when another engine has one.

    Only where DEVICES is set: each is an abstract socket name per address and device, gone with its process.
    """
    held: list[socket.socket] = []
    if not machine.env.get("DPLAUNCH_REHEARSAL_DEVICES"):
        return held
    for device in devices:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        held.append(sock)
        try:
            sock.bind(f"\0dplaunch-rehearsal/{machine.host}/{device}")
        except OSError:
            text = (
                f"Free memory on device {device} (3.1/61.27 GiB) on startup is less than desired GPU memory"
            )
            more = "Decrease GPU memory utilization or reduce GPU memory used by other processes."
            raise FatalError(f"ValueError: {text} utilization. {more}", who=CORE) from None
    return held


def _devices_word(env: dict[str, str]) -> str:
    return "NPUs" if platform(env) == "npu" else "GPUs"


def _visible_devices(env: dict[str, str]) -> list[int] | None:
    """Device ids the process may use; None on a machine without any."""
    installed = env.get("DPLAUNCH_REHEARSAL_DEVICES", "")
    for name, _ in DEVICE_LISTS:
        if name in env:
            return _parse_devices(name, env[name], int(installed) if installed else None)
    return list(range(int(installed))) if installed else None


def _parse_devices(name: str, text: str, installed: int | None) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdigit() for word in words) or len(set(words)) < len(words):
        raise FatalError(f"RuntimeError: {name}={text} is not a list of distinct device ids", who=CORE)
    ids = [int(word) for word in words]
    missing = [one for one in ids if installed is not None and one >= installed]
    if missing:
        text = f"Invalid device ID: {missing[0]} (error code 107001), this node has {installed} devices"
        raise FatalError(f"RuntimeError: {text}", who=CORE)
    return ids


def check_interfaces(env: dict[str, str]) -> None:
    """Raises FatalError when a named interface is not on this machine."""
    present = {name for _, name in socket.if_nameindex()}
    for variable in INTERFACES:
        text = env.get(variable, "")
        if not text or text[0] == "^":
            continue
        names = text.lstrip("=").split(",")
        if not any(_is_present(name, present) for name in names):
            what = "address" if variable.startswith("GLOO") else "interface"
            raise FatalError(
                "RuntimeError: [enforce fail at gloo/transport/tcp/device.cc:83] ifa != nullptr. "
                f"Unable to find {what} for: {text}",
                who=CORE,
            )


def _is_present(name: str, present: set[str]) -> bool:
    return name in present or any(one.startswith(name) for one in present if name)


def host_address(env: dict[str, str]) -> str:
    """What the engine announces to others: VLLM_HOST_IP, else the address of the default route."""
    named = env.get("VLLM_HOST_IP") or env.get("DPLAUNCH_REHEARSAL_BIND")
    if named and named != "0.0.0.0":
        return named
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(("192.0.2.1", 9))  # a datagram socket sends nothing when it connects
        return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
    finally:
        probe.close()


def bind_listener(host: str, port: int, refusal: str) -> socket.socket:
    """A bound, not yet listening TCP socket; raises FatalError with ``refusal`` filled in.

    ``refusal`` is the engine's words with {errno} and {text} to fill.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as fault:
        sock.close()
        raise FatalError(refusal.format(errno=fault.errno or 0, text=fault.strerror or str(fault))) from None
    return sock
