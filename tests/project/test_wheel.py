"""What is shipped: the wheel holds the code, the templates and the examples, and nothing of the tests."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def built(folder: Path) -> zipfile.ZipFile:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [path] = folder.glob("dplaunch-*.whl")
    return zipfile.ZipFile(path)


def below(folder: str) -> set[str]:
    files = (
        path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {str(path.relative_to(ROOT / folder)) for path in files}


def test_the_wheel_holds_what_it_should_and_nothing_else(tmp_path):
    wheel = built(tmp_path)
    shipped = {
        str(Path(name).relative_to("dplaunch")) for name in wheel.namelist() if name.startswith("dplaunch/")
    }
    for here, there in (("templates", "_templates"), ("clusters", "_clusters"), ("dplaunch", ".")):
        wanted = {str(Path(there) / name) for name in below(here)}
        assert wanted
        assert wanted <= shipped
    assert "_docs/architecture.md" in shipped
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {"dplaunch"}
    it_names_its_command_licence_and_no_engine_outside_extras(wheel)


def it_names_its_command_licence_and_no_engine_outside_extras(wheel):
    def read(name: str) -> str:
        return next(wheel.read(each).decode() for each in wheel.namelist() if each.endswith(name))

    assert "dplaunch = dplaunch.cli:main" in read("entry_points.txt")
    assert read("licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    needed = [
        line
        for line in read("METADATA").splitlines()
        if line.startswith("Requires-Dist") and "extra ==" not in line
    ]
    assert {line.split()[1].split(">")[0] for line in needed} == {
        "typer",
        "rich",
        "paramiko",
        "jinja2",
        "pyyaml",
        "pydantic",
        "msgspec",
        "aiohttp",
    }
