"""``engine.versions``: driver, firmware, CANN and the engine's packages on every node.

Packages are read from their metadata: nothing is imported, so this takes no longer than Python's start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dplaunch.engines import facts, kinds
from dplaunch.model.check import Command, Facts, Output
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import engine, has_engines, shell, shell_words
from dplaunch.probes.versions_judge import CANN, DRIVER, FIRMWARE, MACHINE, NAME, RANGES, judge
from dplaunch.probes.words import answer, clean, last_json, unread

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
"""The toolkit that runtime.setup has chosen, then the places it is installed to by default."""

_ENTRY = re.compile(r"^\s*([A-Za-z]\w*)=(.*?)\s*$", re.MULTILINE)
_VERSION = re.compile(r"[0-9A-Za-z][\w.+-]*")
_RANGE = re.compile(r"\[([0-9][0-9.]*),([0-9][0-9.]*)\]")
_RUNNING = re.compile(r"\[[^\[\]:]*:([\w.+-]+)\]")


def entries(text: str) -> dict[str, str]:
    """``NAME=value`` lines of an information file; the first of a name counts."""
    found: dict[str, str] = {}
    for name, value in _ENTRY.findall(clean(text)):
        found.setdefault(name, value)
    return found


def driver(text: str) -> dict[str, object]:
    """Version of the driver's version.info, and which firmware it says it works with."""
    found = entries(text)
    version = found.get("Version", "")
    if not _VERSION.fullmatch(version):
        return {}
    ranges = [list(pair) for pair in _RANGE.findall(found.get("compatible_version_fw", ""))]
    return {DRIVER: version, RANGES: ranges}


def firmware(text: str) -> dict[str, object]:
    """Version of the firmware's version.info."""
    version = entries(text).get("Version", "")
    return {FIRMWARE: version} if _VERSION.fullmatch(version) else {}


def cann(text: str) -> dict[str, object]:
    """Version of ascend_toolkit_install.info or version.cfg."""
    found = entries(text)
    running = _RUNNING.search(found.get("toolkit_running_version", ""))
    version = running[1] if running else found.get("version", "")
    return {CANN: version} if _VERSION.fullmatch(version) else {}


def packages(text: str, names: Iterable[str]) -> dict[str, object]:
    """Version of each package that is there; what is not installed has an empty one."""
    found = last_json(clean(text)).get("packages")
    if not isinstance(found, dict):
        return {}
    return {name: version if isinstance(version := found.get(name, ""), str) else "" for name in names}


def _installed_as(target: Target) -> dict[str, tuple[str, ...]]:
    return {name: packages for name, packages in engine(target).packages.items() if packages}


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del seen
    if has_engines(target) and target.spec.hardware.family in ("a2", "a3"):
        yield Command(key="driver", argv=("sh", "-c", _INSTALLED % "driver"))
        yield Command(key="firmware", argv=("sh", "-c", _INSTALLED % "firmware"))
    if has_engines(target) and (wanted := _installed_as(target)):
        argv = shell_words(target, (target.plan.runtime.python, "-c", _SOURCE % (wanted,)))
        yield Command(key="packages", argv=argv, timeout=30.0)
    if has_engines(target) and CANN in engine(target).packages:
        yield Command(key=CANN, argv=shell(target, _CANN), timeout=30.0)


_READERS = {"driver": driver, "firmware": firmware, CANN: cann}


def _parse(target: Target, outputs: Outputs) -> Facts:
    facts: dict[str, object] = {}
    missing = []
    for key in outputs:
        output = answer(outputs, key)
        if key == "packages":
            found = packages(output.out, _installed_as(target))
        else:
            found = _READERS[key](output.out) if key in _READERS else {}
        facts |= found
        if not found and not _left_out(key, output):
            missing.append(unread(key, output))
    return {**facts, "unread": missing} if missing else facts


def _left_out(key: str, output: Output) -> bool:
    """Containers are given the driver, hardly ever the firmware; a Python that fails is host.python's."""
    return (key == "firmware" and output.code == 1) or (key == "packages" and bool(output.code))


_STEADY = dict.fromkeys((*(name for kind in kinds() for name in facts(kind).packages), *MACHINE))
PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=judge, steady=tuple(_STEADY))
