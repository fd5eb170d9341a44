"""``npu-smi`` and ``hccn_tool`` that replay files: what they answer on a healthy A2 or A3, one answer at a time.

An answer is a file named after the call's words: ``hccn_tool/-i_3_-link_-g``. Beside it may lie its exit
code (``….code``) and the seconds it takes (``….delay``; ``delay`` in the tool's folder is for all calls). A
name that ends in ``_any`` answers whatever the last word is; ``ADDRESS`` in it becomes that word.

    stub = NpuStub(tmp_path, "a3", node=1).install()
    stub.answer("hccn_tool", "-i 3 -link -g", "link status: DOWN\\n")
    stub.delay("hccn_tool", "-i 3 -link -g", 30)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEVICES = {"a2": 8, "a3": 16}
CHIP = {"a2": "910B3", "a3": "Ascend910"}
IDLE_MB, TOTAL_MB = 3105, 65536

STUB = """#!/bin/sh
# Replays an answer: nothing but the shell itself runs, so that many of them cost little.
folder='{folder}'
IFS=_
file="$folder/$*"
for last; do :; done
if [ ! -f "$file" ]; then file="${{file%_*}}_any"; fi
if [ ! -f "$file" ]; then echo "${{0##*/}}: no answer to: $*" >&2; exit 1; fi
for wait in "$file.delay" "$folder/delay"; do
  if [ -f "$wait" ]; then read -r seconds <"$wait"; sleep "$seconds"; break; fi
done
if [ -f "$file.raw" ]; then cat "$file"; else
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *ADDRESS*) line="${{line%%ADDRESS*}}$last${{line#*ADDRESS}}" ;; esac
    printf '%s\\n' "$line"
  done <"$file"
fi
code=0
if [ -f "$file.code" ]; then read -r code <"$file.code"; fi
exit "$code"
"""


def roce(node: int, device: int) -> str:
    """Address of a device's RoCE port; nodes count from 1."""
    return f"10.20.{device}.{node}"


def vnic(node: int, device: int) -> str:
    """Address of an A3 device in its super pod."""
    return f"192.168.{node}.{100 + device}"


def gateway(device: int) -> str:
    """The gateway of a device's network: one network per device index."""
    return f"10.20.{device}.254"


def hccn_conf(family: str, node: int) -> str:
    """``/etc/hccn.conf``."""
    return "".join(
        f"address_{device}={roce(node, device)}\nnetmask_{device}=255.255.255.0\n"
        f"netdetect_{device}={gateway(device)}\ngateway_{device}={gateway(device)}\n"
        f"send_arp_status_{device}=1\n"
        for device in range(DEVICES[family])
    )


def hccn_answers(family: str, node: int) -> Iterator[tuple[str, str]]:
    """Words of the call → text, for ``hccn_tool``."""
    for device in range(DEVICES[family]):
        for words, text in _of_device(node, device):
            yield f"-i {device} {words}", text
        if family == "a3":
            mask = "vnic netmask: 255.255.0.0"
            text = f"vnic link status: UP\nvnic ipaddr: {vnic(node, device)}\n{mask}\n"
            yield f"-i {device} -vnic -g", text
            yield f"-i {device} -hccs_ping -g address any", hccs_ping(device)


def _of_device(node: int, device: int) -> Iterator[tuple[str, str]]:
    yield "-lldp -g", f"Ifname TLV\n\tIfname: 400GE1/{node}/{device + 1}\n"
    yield "-link -g", "link status: UP\n"
    yield "-net_health -g", "net health status: Success\n"
    yield "-netdetect -g", f"netdetect address: {gateway(device)}\n"
    yield "-gateway -g", f"default gateway:{gateway(device)}, Iface:eth{device}\n"
    yield "-ip -g", f"ipaddr:{roce(node, device)}\nnetmask:255.255.255.0\n"
    yield "-tls -g", tls(device, 0)
    yield "-ping -g address any", ping(device)


def tls(device: int, switch: int) -> str:
    """The answer to ``-tls -g``."""
    return (
        f"dev_id:{device}, tls switch[{switch}](0:disable, 1:enable), tls preconfigured[1](0:non-preset, "
        "1:preset), tls alarm time threshold[60]days\n"
    )


def ping(device: int, lost: int = 0) -> str:
    """The answer to ``-ping``, ``lost`` of 3 packets lost."""
    lines = [
        f"recv time out seq={number}" if number < lost else f"recv seq={number},time=0.04{number}000ms"
        for number in range(3)
    ]
    summary = f"3 packets transmitted, {3 - lost} received, {lost * 100 / 3:.2f}% packet loss"
    return "\n".join([f"device {device} PING ADDRESS", *lines, summary, ""])


def hccs_ping(device: int, lost: int = 0) -> str:
    """The answer to ``-hccs_ping``."""
    lines = [
        "This pkt check recv msg fail!"
        if number < lost
        else f"This pkt ping success!\nrecv seq {number}, time = 12.34{number}us, L1 plane check result = 0x0"
        for number in range(3)
    ]
    summary = f"3 packets transmitted, {3 - lost} received, {lost * 100 / 3:.2f}% packets loss"
    return "\n".join([f"device {device} PING ADDRESS", *lines, summary, ""])


def smi_answers(family: str, node: int) -> Iterator[tuple[str, str]]:
    """Words of the call → text, for ``npu-smi``."""
    dies = 2 if family == "a3" else 1
    yield "info", smi_info(family)
    cards = DEVICES[family] // dies
    rows = "".join(f"\n\tNPU ID{'':25}: {card}\n\tChip Count{'':21}: {dies}\n" for card in range(cards))
    yield "info -l", f"\tTotal Count{'':20}: {cards}\n{rows}"
    yield "info -m", smi_map(family)
    if family == "a3":
        for device in range(DEVICES[family]):
            card, chip = divmod(device, 2)
            sdid = (node << 24) + (card << 18) + (chip << 16)
            yield f"info -t spod-info -i {card} -c {chip}", spod(sdid, server=node)


def spod(sdid: int, *, pod: int = 0, server: int = 0) -> str:
    """The answer to ``info -t spod-info``."""
    values = {"SDID": sdid, "Super Pod Size": 384, "Super Pod ID": pod, "Server Index": server}
    return "".join(f"\t{key:<30} : {value}\n" for key, value in values.items())


def smi_map(family: str) -> str:
    """The answer to ``info -m``."""
    wide = family == "a3"
    heads = ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if wide else []), "Chip Name"]
    name = "Ascend910" if wide else "Ascend 910B3"
    dies = 2 if wide else 1
    rows: list[list[object]] = [heads]
    for card in range(DEVICES[family] // dies):
        for chip in range(dies):
            device = card * dies + chip
            rows.append([card, chip, device, *([device] if wide else []), name])
        rows.append([card, dies, "-", *(["-"] if wide else []), "Mcu"])
    return "".join("\t" + "".join(f"{cell!s:<31}" for cell in row) + "\n" for row in rows)


_RULE = f"+{'=' * 27}+{'=' * 15}+{'=' * 52}+\n"
_LINE = f"+{'-' * 27}+{'-' * 15}+{'-' * 52}+\n"


def _row(first: str, second: str, third: str) -> str:
    return f"| {first:<26}| {second:<14}| {third:<51}|\n"


def smi_info(
    family: str,
    *,
    health: dict[int, str] | None = None,
    used: dict[int, int] | None = None,
    holders: dict[int, tuple[int, str]] | None = None,
    missing: tuple[int, ...] = (),
) -> str:
    """The answer to ``info``. Device → health, → MB of HBM in use, → pid and name of its process."""
    present = [device for device in range(DEVICES[family]) if device not in missing]
    text = f"+{'-' * 96}+\n| npu-smi 24.1.rc2{'':17}Version: 24.1.rc2{'':46}|\n" + _LINE
    text += _row("NPU   Name", "Health", "Power(W)    Temp(C)           Hugepages-Usage(page)")
    text += _row(
        "Chip" + ("  Phy-ID" if family == "a3" else ""),
        "Bus-Id",
        "AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)",
    )
    text += _RULE
    for device in present:
        text += _device(family, device, (health or {}).get(device, "OK"), (used or {}).get(device, IDLE_MB))
    text += (
        _LINE + _row("NPU     Chip", "Process id", "Process name             | Process memory(MB)") + _RULE
    )
    return text + _processes(family, present, holders or {}, used or {})


def _device(family: str, device: int, health: str, used: int) -> str:
    card, chip = divmod(device, 2) if family == "a3" else (device, 0)
    power = "-" if chip else "93.2"
    place = f"{chip}     {device}" if family == "a3" else f"{chip}"
    memory = f"{0:<12}{0:<5}/ {0:<11}{used:<5}/ {TOTAL_MB}"
    head = _row(f"{card:<6}{CHIP[family]}", health, f"{power:<12}{38:<18}0    / 0")
    return head + _row(place, f"0000:{0x81 + device:02X}:00.0", memory) + _RULE


def _processes(
    family: str, present: list[int], holders: dict[int, tuple[int, str]], used: dict[int, int]
) -> str:
    text = ""
    dies = 2 if family == "a3" else 1
    for card in dict.fromkeys(device // dies for device in present):
        rows = [device for device in holders if device // dies == card]
        for device in rows:
            pid, name = holders[device]
            memory = max(used.get(device, IDLE_MB) - IDLE_MB, 0)
            text += _row(f"{card:<8}{device % dies}", str(pid), f"{name:<25}| {memory}")
        text += "" if rows else f"| {f'No running processes found in NPU {card}':<95}|\n"
        text += _RULE
    return text


@dataclass(frozen=True)
class NpuStub:
    """The stub tools of one node: programs in ``folder/bin``, answers in ``folder/answers``."""

    folder: Path
    family: str
    node: int = 1
    seen_as: str = ""
    """How the node itself calls ``folder``, where that is another name."""

    @property
    def bin(self) -> Path:
        """To be put first in PATH."""
        return self.folder / "bin"

    def install(self) -> NpuStub:
        """Both tools, healthy, and the text of ``hccn.conf`` beside them."""
        self.bin.mkdir(parents=True, exist_ok=True)
        for tool, answers in (("npu-smi", smi_answers), ("hccn_tool", hccn_answers)):
            place = self.folder / "answers" / tool
            place.mkdir(parents=True, exist_ok=True)
            inside = f"{self.seen_as or self.folder}/answers/{tool}"
            (self.bin / tool).write_text(STUB.format(folder=inside))
            (self.bin / tool).chmod(0o755)
            for words, text in answers(self.family, self.node):
                self.answer(tool, words, text)
        (self.folder / "hccn.conf").write_text(hccn_conf(self.family, self.node))
        return self

    def file(self, tool: str, words: str) -> Path:
        """Where the answer to a call lies."""
        return self.folder / "answers" / tool / "_".join(words.split())

    def answer(self, tool: str, words: str, text: str | bytes, code: int = 0) -> None:
        """From now on the call answers so. Bytes are printed as they are, NULs and all."""
        file = self.file(tool, words)
        if isinstance(text, bytes):
            file.write_bytes(text)
            file.with_name(f"{file.name}.raw").touch()
        else:
            file.write_text(text)
        if code:
            file.with_name(f"{file.name}.code").write_text(f"{code}\n")

    def delay(self, tool: str, words: str, seconds: float) -> None:
        """The call takes so long; without words every call of the tool does."""
        file = self.file(tool, words)
        name = f"{file.name}.delay" if words else "delay"
        place = file.parent if words else self.folder / "answers" / tool
        (place / name).write_text(f"{seconds}\n")
