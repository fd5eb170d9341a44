"""``engine.versions``: driver, firmware, CANN and the engine's packages on every node.

The versions of packages are read from their metadata: nothing is imported, so it is quick.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dplaunch.engines import facts, kinds
from dplaunch.model.check import Command, Facts, Output
from dplaunch.model.cluster import NPUS
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output, read_last_json
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.probes.shell import wrap_command, wrap_script
from dplaunch.probes.versions_judge import CANN, DRIVER, FIRMWARE, MACHINE, NAME, RANGES, compare

_SOURCE = """
import importlib.metadata, json
found = {}
for name, packages in %r.items():
    for package in packages:
        try:
            found.setdefault(name, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            pass
print(json.dumps({"packages": found}))
"""

_INSTALLED = (
    "root=$(sed -n 's/^Driver_Install_Path_Param=//p' /etc/ascend_install.info 2>/dev/null); "
    'exec cat "${root:-/usr/local/Ascend}/%s/version.info"'
)
_CANN = """
for home in "${ASCEND_TOOLKIT_HOME-}" "${ASCEND_HOME_PATH-}" /usr/local/Ascend/ascend-toolkit/latest \\
  /usr/local/Ascend/cann; do
  for file in "$home"/*-linux/ascend_toolkit_install.info "$home/ascend_toolkit_install.info" \\
    "$home/version.cfg"; do
    if [ -n "$home" ] && [ -r "$file" ]; then exec cat "$file"; fi
  done
done
echo "no CANN toolkit in \\$ASCEND_TOOLKIT_HOME or /usr/local/Ascend" >&2
exit 1
"""
"""The toolkit that runtime.setup has chosen, else the one in a default folder."""

_ENTRY = re.compile(r"^\s*([A-Za-z]\w*)=(.*?)\s*$", re.MULTILINE)
_VERSION = re.compile(r"[0-9A-Za-z][\w.+-]*")
_RANGE = re.compile(r"\[([0-9][0-9.]*),([0-9][0-9.]*)\]")
_RUNNING = re.compile(r"\[[^\[\]:]*:([\w.+-]+)\]")


def _parse_entries(text: str) -> dict[str, str]:
    """Return the ``NAME=value`` lines of an information file; the first line of a name counts."""
    found: dict[str, str] = {}
    for name, value in _ENTRY.findall(clean(text)):
        found.setdefault(name, value)
    return found


def parse_driver(text: str) -> dict[str, object]:
    """Return the driver's version and the ranges of firmware it works with, of its version.info."""
    found = _parse_entries(text)
    version = found.get("Version", "")
    if not _VERSION.fullmatch(version):
        return {}
    ranges = [list(pair) for pair in _RANGE.findall(found.get("compatible_version_fw", ""))]
    return {DRIVER: version, RANGES: ranges}


def parse_firmware(text: str) -> dict[str, object]:
    """Return the firmware's version, of its version.info."""
    version = _parse_entries(text).get("Version", "")
    return {FIRMWARE: version} if _VERSION.fullmatch(version) else {}


def parse_cann(text: str) -> dict[str, object]:
    """Return the toolkit's version, of ascend_toolkit_install.info or version.cfg."""
    found = _parse_entries(text)
    running = _RUNNING.search(found.get("toolkit_running_version", ""))
    version = running[1] if running else found.get("version", "")
    return {CANN: version} if _VERSION.fullmatch(version) else {}


def parse_packages(text: str, names: Iterable[str]) -> dict[str, object]:
    """Return name → version; the version is empty if the package is not installed."""
    found = read_last_json(clean(text)).get("packages")
    if not isinstance(found, dict):
        return {}
    return {name: version if isinstance(version := found.get(name, ""), str) else "" for name in names}


def _list_packages(target: ProbeTarget) -> dict[str, tuple[str, ...]]:
    """Return software name → Python packages that it may be installed as."""
    return {name: packages for name, packages in target.engine.packages.items() if packages}


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterable[Command]:
    if target.has_engines and target.spec.hardware.family in NPUS:
        yield Command(key="driver", argv=("sh", "-c", _INSTALLED % "driver"))
        yield Command(key="firmware", argv=("sh", "-c", _INSTALLED % "firmware"))
    if target.has_engines and (wanted := _list_packages(target)):
        argv = wrap_command(target, (target.plan.runtime.python, "-c", _SOURCE % (wanted,)))
        yield Command(key="packages", argv=argv, timeout=30.0)
    if target.has_engines and CANN in target.engine.packages:
        yield Command(key=CANN, argv=wrap_script(target, _CANN), timeout=30.0)


_PARSERS = {"driver": parse_driver, "firmware": parse_firmware, CANN: parse_cann}


def _parse(target: ProbeTarget, outputs: Outputs) -> Facts:
    facts: dict[str, object] = {}
    missing = []
    for key in outputs:
        output = find_output(outputs, key)
        if key == "packages":
            found = parse_packages(output.out, _list_packages(target))
        else:
            found = _PARSERS[key](output.out) if key in _PARSERS else {}
        facts |= found
        if not found and not _may_be_missing(key, output):
            missing.append(describe_unread(key, output))
    return {**facts, "unread": missing} if missing else facts


def _may_be_missing(key: str, output: Output) -> bool:
    """Containers get the driver but rarely the firmware; ``host.python`` reports a Python that fails."""
    return (key == "firmware" and output.code == 1) or (key == "packages" and bool(output.code))


_STEADY = dict.fromkeys((*(name for kind in kinds() for name in facts(kind).packages), *MACHINE))
PROBE = Probe(
    name=NAME, inside=True, commands=_commands, parse=_parse, compare=compare, steady=tuple(_STEADY)
)
