"""Dual-batch overlap where the real engine refuses it: by its back end, or (vllm-ascend 0.9) with MTP."""

from __future__ import annotations

from .arguments import Arguments
from .failure import FatalError

DEEPEP = ("deepep_low_latency", "deepep_high_throughput")
DEFAULT = "allgather_reducescatter"


def check(arguments: Arguments, env: dict[str, str], release: tuple[int, ...], platform: str) -> None:
    """Raise FatalError where the engine ends at once."""
    if platform == "npu" and release < (0, 10):
        _check_ascend(arguments, env)
    elif platform == "cuda" and arguments.get("enable-dbo", False):
        _check_backend(arguments, env, release)


def _check_ascend(arguments: Arguments, env: dict[str, str]) -> None:
    on = env.get("VLLM_ASCEND_ENABLE_DBO", "0") not in ("", "0")
    if on and any(name.partition(".")[0] == "speculative-config" for name in arguments.options):
        text = "DBO only supports deepseek(not included MTP) now. Please `export VLLM_ASCEND_ENABLE_DBO=0`"
        raise FatalError(f"ValueError: {text}")


def _check_backend(arguments: Arguments, env: dict[str, str], release: tuple[int, ...]) -> None:
    allowed = DEEPEP if release < (0, 24) else (*DEEPEP, "nixl_ep")
    inherited = env.get("VLLM_ALL2ALL_BACKEND", DEFAULT) if release < (0, 18) else DEFAULT
    backend = arguments.get("all2all-backend", inherited)
    if backend not in allowed:
        raise FatalError(
            f"AssertionError: Microbatching currently only supports the {', '.join(allowed[:-1])} and "
            f"{allowed[-1]} all2all backend. {backend} is not supported."
        )
