"""The start-up log of vLLM-Ascend, stage by stage, as real runs wrote it: values only."""

from __future__ import annotations

from .log import API, CORE, MAIN
from .parallel import SPREAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .settings import Settings

SERVES = "INFO:     Application startup complete."
SHARDS = 8
ROUTES = (
    ("/health", "GET"),
    ("/load", "GET"),
    ("/ping", "GET, POST"),
    ("/version", "GET"),
    ("/metrics", "GET"),
    ("/v1/models", "GET"),
    ("/v1/chat/completions", "POST"),
    ("/v1/completions", "POST"),
    ("/v1/messages", "POST"),
    ("/v1/messages/count_tokens", "POST"),
    ("/v1/responses", "POST"),
    ("/tokenize", "POST"),
    ("/detokenize", "POST"),
)


class Scene:
    """One start-up stage: ``seconds`` at full length, spread over its lines.

    A line is (who, place, text); place "" means that it does not come from the logger.
    """

    def __init__(self, name: str, seconds: float, lines: list[tuple[str, str, str]]) -> None:
        self.name = name
        self.seconds = seconds
        self.lines = lines


def opening(settings: Settings) -> list[Scene]:
    """What happens before the group has met."""
    scenes = [
        Scene("plugin", 0.6, _plugin(settings.platform)),
        Scene("args", 0.4, _args(settings)),
    ]
    parallel = settings.parallel
    if parallel.grouped:
        if parallel.rank == 0 and parallel.together:
            scenes.append(Scene("coordinator", 0.2, []))
        if parallel.mode == SPREAD:
            return [*scenes, Scene("handshake", 0.1, [])]
        text = "Waiting for init message from front-end."
        scenes.append(Scene("handshake", 0.1, [(CORE, "core.py:532", text)]))
    return scenes


def loading(settings: Settings) -> list[Scene]:
    """From the first line of the core to its last."""
    version = settings.version
    if settings.parallel.part:
        return _loading_a_part(settings)
    text = (
        f"Initializing a V1 LLM engine (v{version}) with config: model='{settings.model}', {_sizes(settings)}"
    )
    scenes = [
        Scene("init", 0.4, [(CORE, "core.py:77", text)]),
        Scene("ranks", 0.2, _ranks(settings)),
        Scene("gloo", 0.1, [(CORE, "", _gloo(settings))]),
        Scene("load", 2.6, _load(settings)),
        Scene("memory", 0.3, _memory(settings)),
    ]
    given = settings.given.get("kv_transfer_config")
    if isinstance(given, dict) and given.get("kv_connector"):
        scenes.append(Scene("kv", 0.2, _kv(settings, given)))
    if not settings.eager:
        scenes.append(Scene("graphs", 0.8, _graphs(settings)))
    text = "init engine (profile, create kv cache, warmup model) took 3.16 seconds"
    return [*scenes, Scene("ready", 0.3, [(CORE, "core.py:210", text)])]


def _loading_a_part(settings: Settings) -> list[Scene]:
    """Of a part without a core only the workers speak."""
    scenes = [Scene("ranks", 0.2, _ranks(settings)), Scene("load", 2.6, _load(settings))]
    return scenes if settings.eager else [*scenes, Scene("graphs", 0.8, _graphs(settings))]


def serving(settings: Settings, pid: int) -> Scene:
    """The server's lines up to the moment it serves."""
    word = "server on" if settings.release >= (0, 18) else "API server 0 on"
    lines = [
        (API, "api_server.py:1912", f"Starting vLLM {word} http://{settings.host}:{settings.port}"),
        (API, "launcher.py:29", "Available routes are:"),
    ]
    lines += [(API, "launcher.py:37", f"Route: {path}, Methods: {methods}") for path, methods in ROUTES]
    lines += [
        (API, "", f"INFO:     Started server process [{pid}]"),
        (API, "", "INFO:     Waiting for application startup."),
    ]
    return Scene("http", 0.1, lines)


def _plugin(platform: str) -> list[tuple[str, str, str]]:
    lines = [(API, "__init__.py:216", f"Automatically detected platform {platform}.")]
    if platform == "npu":
        lines.insert(0, (API, "__init__.py:207", "Platform plugin ascend is activated"))
    return lines


def _args(settings: Settings) -> list[tuple[str, str, str]]:
    if settings.parallel.headless:
        return [_headless(settings)]
    return [
        (API, "api_server.py:1839", f"vLLM API server version {settings.version}"),
        (API, "utils.py:253", f"non-default args: {settings.given}"),
        (API, "model.py:1510", f"Using max model len {settings.max_model_len}"),
    ]


def _headless(settings: Settings) -> tuple[str, str, str]:
    parallel = settings.parallel
    head = f"{parallel.address}:{parallel.port}"
    if parallel.mode == SPREAD:
        what = f"Launching vLLM (v{settings.version}) headless multiproc executor, with head node address"
        return MAIN, "serve.py:219", f"{what} {head} for torch.distributed process group."
    what = f"Launching {parallel.local} data parallel engine(s) in headless mode"
    return MAIN, "serve.py:239", f"{what}, with head node address tcp://{head}."


def _sizes(settings: Settings) -> str:
    parallel = settings.parallel
    return (
        f"tensor_parallel_size={parallel.tp}, pipeline_parallel_size={parallel.pp}, "
        f"data_parallel_size={parallel.size}, served_model_name={settings.served[0]}"
    )


def _ranks(settings: Settings) -> list[tuple[str, str, str]]:
    parallel = settings.parallel
    first = parallel.part * parallel.local_world
    return [
        _assigned(settings, rank, local)
        for rank in parallel.ranks
        for local in range(first, first + parallel.local_world)
    ]


def _assigned(settings: Settings, rank: int, local: int) -> tuple[str, str, str]:
    parallel = settings.parallel
    stage, tensor = local // parallel.tp % parallel.pp, local % parallel.tp
    expert = f", EP rank {rank * parallel.tp + tensor}" if parallel.expert else ""
    seat = f"DP rank {rank}, PP rank {stage}, TP rank {tensor}{expert}"
    world = parallel.size * parallel.world
    text = f"rank {rank * parallel.world + local} in world size {world} is assigned as {seat}"
    return parallel.worker(tensor, rank), "parallel_state.py:1208", text


def _gloo(settings: Settings) -> str:
    peers = settings.parallel.size * settings.parallel.world - 1
    rank = settings.parallel.rank * settings.parallel.world
    return (
        f"[Gloo] Rank {rank} is connected to {peers} peer ranks. "
        f"Expected number of connected peer ranks is : {peers}"
    )


def _load(settings: Settings) -> list[tuple[str, str, str]]:
    who = settings.parallel.worker(0)
    bars = []
    for done in range(SHARDS + 1):
        percent = (
            f"{100 * done // SHARDS:3d}% Completed | {done}/{SHARDS} [00:{done:02d}<00:{SHARDS - done:02d}]"
        )
        bars.append((who, "", f"Loading safetensors checkpoint shards: {percent}"))
    lines = [(who, "model_runner_v1.py:2600", f"Starting to load model {settings.model}..."), *bars]
    lines.append((who, "default_loader.py:268", "Loading weights took 2.10 seconds"))
    if settings.given.get("speculative_config"):
        lines.append((who, "model_runner_v1.py:2618", "Loading drafter model..."))
    return [*lines, (who, "model_runner_v1.py:2640", "Loading model weights took 41.9372 GB")]


def _memory(settings: Settings) -> list[tuple[str, str, str]]:
    device = "CPU" if settings.platform == "cpu" else "GPU"
    return [
        (settings.parallel.worker(0), "worker_v1.py:231", "Available KV cache memory: 11.62 GiB"),
        (CORE, "kv_cache_utils.py:1087", f"{device} KV cache size: 262,144 tokens"),
    ]


def _kv(settings: Settings, given: dict[str, object]) -> list[tuple[str, str, str]]:
    transfer = settings.transfer
    connector = transfer.connector if transfer else given["kv_connector"]
    engine_id = transfer.engine_id if transfer else given.get("engine_id")
    text = f"Creating v1 connector with name: {connector} and engine_id: {engine_id}"
    lines = [(CORE, "factory.py:51", text)]
    if transfer and transfer.connector.startswith("Mooncake"):
        lines.append((CORE, "mooncake_connector.py:240", "Initializing Mooncake Scheduler"))
    return lines


def _graphs(settings: Settings) -> list[tuple[str, str, str]]:
    who = settings.parallel.worker(0)
    return [
        (who, "model_runner_v1.py:3305", "Starting to capture ACL graphs, cudagraph_mode: FULL_DECODE_ONLY"),
        (who, "model_runner_v1.py:3340", "Graph capturing finished in 12 secs, took 0.31 GiB"),
    ]
