"""The script finds the RDMA adapters near a GPU, or says that there is none."""

import subprocess

import pytest

from dplaunch.render import render


@pytest.fixture
def machine(tmp_path):
    """Adds a device to a sysfs of its own, and runs the search there."""
    (tmp_path / "class" / "infiniband").mkdir(parents=True)
    (tmp_path / "bus" / "pci" / "devices").mkdir(parents=True)

    def pci(root, name):
        folder = tmp_path / "devices" / f"pci0000:{root}" / name
        folder.mkdir(parents=True)
        return folder

    class Machine:
        def adapter(self, name, root, state="4: ACTIVE"):
            device = pci(root, name)
            place = tmp_path / "class" / "infiniband" / name
            (place / "ports" / "1").mkdir(parents=True)
            (place / "ports" / "1" / "state").write_text(state + "\n")
            (place / "device").symlink_to(device)

        def gpu(self, name, root):
            device = pci(root, name)
            (device / "vendor").write_text("0x10de\n")
            (device / "class").write_text("0x030200\n")
            (tmp_path / "bus" / "pci" / "devices" / name).symlink_to(device)

        def search(self):
            text = render("fastdeploy/rdma.sh.j2", {"sysfs": str(tmp_path)})
            return subprocess.run(
                ["bash", "-c", f"{text}\necho $KVCACHE_RDMA_NICS"],
                capture_output=True,
                text=True,
                check=False,
            )

    return Machine()


def test_adapters_that_share_a_root_with_a_gpu_come_before_all_others(machine):
    machine.gpu("0000:81:00.0", "80")
    machine.adapter("mlx5_0", "00")
    machine.adapter("mlx5_1", "80")
    machine.adapter("mlx5_2", "80", state="1: DOWN")
    assert machine.search().stdout.strip() == "mlx5_1"


def test_without_a_gpu_nearby_every_active_one_is_taken(machine):
    machine.adapter("mlx5_0", "00")
    machine.adapter("mlx5_1", "80")
    assert machine.search().stdout.strip() == "mlx5_0,mlx5_1"


def test_without_an_active_one_it_says_what_to_do(machine):
    machine.adapter("mlx5_0", "00", state="1: DOWN")
    ended = machine.search()
    assert ended.returncode == 1
    assert "KVCACHE_RDMA_NICS" in ended.stderr
