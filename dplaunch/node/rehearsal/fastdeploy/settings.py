"""What the command line and the environment say of one server."""

from __future__ import annotations

from .arguments import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..knobs import Knobs


class Settings:
    """What the command line says of this server; ``rank`` counts those of the node."""

    def __init__(self, flags: dict[str, str], env: dict[str, str], knobs: Knobs) -> None:
        self.rank = int(flags.get("local-data-parallel-id", "0"))
        self.address = knobs.bind or flags.get("host", "0.0.0.0")
        self.model = flags.get("model", "")
        self.served = flags.get("served-model-name") or self.model
        self.max_model_len = int(flags.get("max-model-len", "2048"))
        self.seats = int(flags.get("max-num-seqs", "8"))
        self.port = int(flags.get("port", "8000"))
        self.metrics_port = int(flags.get("metrics-port", "-1"))
        self.role = flags.get("splitwise-role", "mixed")
        self.router = flags.get("router", "")
        self.tp = int(flags.get("tensor-parallel-size", "1"))
        self.protocol = flags.get("cache-transfer-protocol", "ipc")
        self.queues = numbers(flags.get("engine-worker-queue-port", ""))
        self.caches = numbers(flags.get("cache-queue-port", ""))
        self.pds = numbers(flags.get("pd-comm-port", ""))
        self.rdmas = numbers(flags.get("rdma-comm-ports", ""))
        self.devices = env.get("CUDA_VISIBLE_DEVICES", "")
        self.dp = int(flags.get("data-parallel-size", "1"))
        self.scheduled = flags.get("scheduler-name") == "splitwise"
        self.redis_host = flags.get("scheduler-host", "127.0.0.1")
        self.redis_port = int(flags.get("scheduler-port", "6379"))
        self.redis_password = flags.get("scheduler-password", "")
        self.topic = flags.get("scheduler-topic", "default")
        self.keys = [key for key in env.get("FD_API_KEY", "").split(",") if key]

    def own(self, ports: list[int]) -> int:
        """This rank's port of a list; 0 where there is none."""
        return ports[self.rank] if self.rank < len(ports) else 0
