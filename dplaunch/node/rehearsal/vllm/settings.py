"""Everything an engine decided from its arguments and environment before it starts to load."""

from __future__ import annotations

from . import overlap, transfer
from .failure import FatalError
from .machine import platform, usable_devices
from .parallel import Parallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .arguments import Arguments
    from .knobs import Knobs
    from .machine import Machine


class Settings:
    """One engine, checked; raises FatalError with the real engine's words where it would refuse."""

    def __init__(self, arguments: Arguments, knobs: Knobs, machine: Machine, version: str) -> None:
        env = machine.env
        self.version, self.release = version, machine.release
        self.model = arguments.model
        self.served = arguments.get("served-model-name", []) or [arguments.model]
        self.host = knobs.bind or arguments.get("host", "0.0.0.0")
        self.port = arguments.get("port", 8000)
        self.given = {name.replace("-", "_"): value for name, value in arguments.options.items()}
        self.eager = arguments.get("enforce-eager", False)
        self.max_model_len = arguments.get("max-model-len", 131072)
        self.random_weights = arguments.get("load-format", "auto") == "dummy"
        self.stream_interval = max(1, arguments.get("stream-interval", 1))
        self.seats = arguments.get("max-num-seqs", 256)
        self.api_keys = list(filter(None, arguments.get("api-key", [env.get("VLLM_API_KEY")])))
        self.request_id_headers = arguments.get("enable-request-id-headers", False)
        quiet = arguments.get("disable-uvicorn-access-log", False)
        self.access_log = not quiet and arguments.get("uvicorn-log-level", "info") in (
            "info",
            "debug",
            "trace",
        )
        self.quiet_paths = arguments.get("disable-access-log-for-endpoints", "").split(",")
        self.shutdown_timeout = arguments.get("shutdown-timeout", 0)
        self.keep_alive = float(env.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE") or 5)
        interval = float(env.get("VLLM_LOG_STATS_INTERVAL") or 10)
        self.stats_interval = 0.0 if arguments.get("disable-log-stats", False) else interval
        self.platform = platform(env)
        overlap.check(arguments, env, machine.release, self.platform)
        self.parallel = Parallel(arguments, env, machine.release)
        size = arguments.get("block-size", 128 if self.platform == "npu" else 16)
        self.block_size = max(1, size) * self.parallel.pcp * self.parallel.dcp
        self.prefix_caching = arguments.get("enable-prefix-caching", True)
        if arguments.get("config", ""):
            raise FatalError("RuntimeError: the rehearsal engine does not read --config files; give flags.")
        self.devices = usable_devices(env, self.parallel)
        self.transfer = transfer.read(arguments, self.parallel, machine)
        self.given.pop("api_key", None)
