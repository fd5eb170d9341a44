"""What the engine counts, and its Prometheus text under vLLM's names (``vllm/v1/metrics/loggers.py``)."""

from __future__ import annotations

import threading

from ..histogram import Histogram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL, CACHED, EXTERNAL = "local_compute", "local_cache_hit", "external_kv_transfer"
EXTERNAL_SINCE = (0, 11, 1)


class Counters:
    """Running and waiting requests and token sums; ``seats`` requests run at once, the others wait.

    ``connected``: the engine has a KV connector, which is asked for what its own cache lacks.
    """

    def __init__(self, seats: int, *, connected: bool = False) -> None:
        self.seats = max(1, seats)
        self.connected = connected
        self.running = 0
        self.waiting = 0
        self.held_tokens = 0
        self.generated = 0
        self.prompted = {LOCAL: 0, CACHED: 0, EXTERNAL: 0}
        self.finished = {"stop": 0, "length": 0, "abort": 0, "error": 0}
        self.first_token = Histogram()
        self.between_tokens = Histogram()
        self.changed = threading.Condition()

    def prompt(self, source: str, tokens: int) -> None:
        """A prompt of ``tokens`` was computed here or pulled."""
        with self.changed:
            self.prompted[source] += tokens

    def token(self, count: int) -> None:
        """``count`` tokens were generated."""
        with self.changed:
            self.generated += count

    def lookups(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(tokens asked for, found): of the engine's own cache of prefixes, and of its connector."""
        asked, own = sum(self.prompted.values()), self.prompted[CACHED]
        return (asked, own), (asked - own if self.connected else 0, self.prompted[EXTERNAL])

    def hit_rates(self) -> str:
        """The end of the steady line: the connector's rate where it was asked."""
        own, connector = self.lookups()
        text = f"Prefix cache hit rate: {_percent(own)}"
        return f"{text}, External prefix cache hit rate: {_percent(connector)}" if connector[0] else text


class Ticket:
    """One request's place in the engine: it waits, then runs, and gives back what it holds when it leaves."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._seated = False
        self._tokens = 0
        with counters.changed:
            counters.waiting += 1

    def hold(self, tokens: int) -> None:
        """Take KV blocks for so many tokens; once is enough."""
        with self._counters.changed:
            self._counters.held_tokens += tokens - self._tokens
            self._tokens = tokens

    def sit(self, check: Callable[[], None]) -> None:
        """Wait for a seat and take it, unless ``check()`` raises first."""
        counters = self._counters
        with counters.changed:
            while counters.running >= counters.seats:
                counters.changed.wait(0.25)
                check()
            counters.waiting -= 1
            counters.running += 1
            self._seated = True

    def leave(self, reason: str) -> None:
        """Give back seat and blocks; ``reason``: stop, length, abort, error."""
        self.hold(0)
        counters = self._counters
        with counters.changed:
            if self._seated:
                counters.running -= 1
            else:
                counters.waiting -= 1
            counters.finished[reason] += 1
            counters.changed.notify_all()


def prometheus(counters: Counters, model: str, ranks: range, usage: float, release: tuple[int, ...]) -> str:
    """The text of /metrics: each rank behind the server has its series; the first one's hold all."""
    cache = "kv_cache_usage_perc" if release >= (0, 10) else "gpu_cache_usage_perc"
    rows = [
        ("num_requests_running", "gauge", "", counters.running),
        ("num_requests_waiting", "gauge", "", counters.waiting),
        (cache, "gauge", "", usage),
        ("prompt_tokens_total", "counter", "", sum(counters.prompted.values())),
        ("generation_tokens_total", "counter", "", counters.generated),
    ]
    rows += _cache_rows(counters, release)
    rows += [
        ("prompt_tokens_by_source_total", "counter", f',source="{source}"', count)
        for source, count in counters.prompted.items()
    ]
    rows += [
        ("request_success_total", "counter", f',finished_reason="{reason}"', count)
        for reason, count in counters.finished.items()
    ]
    lines, typed = [], set()
    for name, kind, more, value in rows:
        if name not in typed:
            lines.append(f"# TYPE vllm:{name} {kind}")
            typed.add(name)
        for rank in ranks:
            engine = f'engine="{rank}",' if release >= (0, 10) else ""
            figure = float(value if rank == ranks[0] else 0)
            lines.append(f'vllm:{name}{{{engine}model_name="{model}"{more}}} {figure}')
    for name, histogram in _times(counters, release):
        lines.append(f"# TYPE vllm:{name} histogram")
        for rank in ranks:
            engine = f'engine="{rank}",' if release >= (0, 10) else ""
            own = histogram if rank == ranks[0] else Histogram()
            lines += own.lines(f"vllm:{name}", f'{engine}model_name="{model}"')
    return "\n".join(lines) + "\n"


def _times(counters: Counters, release: tuple[int, ...]) -> list[tuple[str, Histogram]]:
    """Times to the first token, and from one to the next: renamed in 0.11."""
    between = "inter_token_latency_seconds" if release >= (0, 11) else "time_per_output_token_seconds"
    return [("time_to_first_token_seconds", counters.first_token), (between, counters.between_tokens)]


def _cache_rows(counters: Counters, release: tuple[int, ...]) -> list[tuple[str, str, str, float]]:
    """Hits of the caches of prefixes, in tokens; the connector's since 0.11.1."""
    own, connector = counters.lookups()
    caches = [("prefix_cache" if release >= (0, 10) else "gpu_prefix_cache", own)]
    caches += [("external_prefix_cache", connector)] if release >= EXTERNAL_SINCE else []
    return [
        (f"{name}_{what}_total", "counter", "", figure)
        for name, figures in caches
        for what, figure in zip(("queries", "hits"), figures)
    ]


def _percent(cache: tuple[int, int]) -> str:
    asked, found = cache
    return f"{100 * found / max(1, asked):.1f}%"
