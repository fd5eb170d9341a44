"""Everything an engine decided from its arguments and environment before it starts to load."""

from __future__ import annotations

from . import transfer
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
        self.served = arguments.words("served-model-name") or [arguments.model]
        self.host = knobs.bind or arguments.word("host", "0.0.0.0")
        self.port = arguments.number("port", 8000)
        self.given = {name.replace("-", "_"): value for name, value in arguments.options.items()}
        self.eager = arguments.flag("enforce-eager")
        self.max_model_len = arguments.number("max-model-len", 131072)
        self.stream_interval = max(1, arguments.number("stream-interval", 1))
        self.seats = arguments.number("max-num-seqs", 256)
        self.api_keys = _api_keys(arguments, env)
        self.request_id_headers = arguments.flag("enable-request-id-headers")
        quiet = arguments.flag("disable-uvicorn-access-log")
        self.access_log = not quiet and arguments.word("uvicorn-log-level", "info") in (
            "info",
            "debug",
            "trace",
        )
        self.quiet_paths = arguments.word("disable-access-log-for-endpoints", "").split(",")
        self.shutdown_timeout = arguments.number("shutdown-timeout", 0)
        self.keep_alive = float(env.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE") or 5)
        interval = float(env.get("VLLM_LOG_STATS_INTERVAL") or 10)
        self.stats_interval = 0.0 if arguments.flag("disable-log-stats") else interval
        self.platform = platform(env)
        self.parallel = Parallel(arguments, env, machine.release)
        if arguments.options.get("config"):
            raise FatalError("RuntimeError: the rehearsal engine does not read --config files; give flags.")
        self.devices = usable_devices(env, self.parallel)
        self.transfer = transfer.read(arguments, self.parallel, machine)
        self.given.pop("api_key", None)


def _api_keys(arguments: Arguments, env: dict[str, str]) -> list[str]:
    """--api-key wins over VLLM_API_KEY, as in the engine."""
    return arguments.words("api-key") or [key for key in [env.get("VLLM_API_KEY", "")] if key]
