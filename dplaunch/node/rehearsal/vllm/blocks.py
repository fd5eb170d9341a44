"""The prompts of an engine with a KV pool, block by block: kept by itself, put into the pool, found again.

Read in vllm-ascend 0.13 to 0.25, ``ascend_store/pool_scheduler.py`` and ``mooncake_backend.py``.
"""

from __future__ import annotations

import collections
import hashlib
import os

from .log import CORE
from .store import MOONCAKE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .log import Log
    from .settings import Settings
    from .store import Access

KEPT = 2048
"""Blocks that the engine keeps itself."""
RPC_FAIL, ERROR = -900, -1
"""Codes where the master does not answer: Mooncake's, and any other's."""
COUNTS_ONLY = (0, 21)
"""First release whose message counts keys rather than list them."""


class Hit:
    """What of a prompt need not be computed: tokens kept by the engine itself, and by the pool.

    ``blocks``: how many these are. ``sound``: what the pool gave is this prompt's.
    """

    def __init__(self, own: int = 0, pooled: int = 0, blocks: int = 0, *, sound: bool = True) -> None:
        self.own = own
        self.pooled = pooled
        self.blocks = blocks
        self.sound = sound


class Blocks:
    """Keys are chained hashes from a seed on: engines with other seeds do not find each other's blocks."""

    def __init__(self, access: Access, settings: Settings, env: dict[str, str], log: Log) -> None:
        config, extra = access.config, access.config.get("kv_connector_extra_config")
        own = extra if isinstance(extra, dict) else {}
        consumer = config.get("kv_role") == "kv_consumer"
        self.loads = not consumer or bool(own.get("consumer_is_to_load"))
        self.saves = not consumer or bool(own.get("consumer_is_to_put"))
        self._client = access.client
        self._backend = access.backend
        self._model = settings.model.rstrip("/").rpartition("/")[2]
        self._size = settings.block_size
        self._keeps = settings.prefix_caching
        self._seed = env.get("PYTHONHASHSEED") or os.urandom(16).hex()
        self._release = settings.release
        self._log = log
        self._own: collections.OrderedDict[str, None] = collections.OrderedDict()

    def load(self, request: str, words: list[str]) -> Hit:
        """Find the beginning of a prompt; its last token is always computed."""
        keys = [key for key, _ in self._chain(words)]
        most = max(0, len(words) - 1) // self._size
        kept = next((n for n, key in enumerate(keys[:most]) if key not in self._own), most)
        found = self._find(keys[kept:]) if self.loads else []
        blocks = kept + len(found)
        pooled = min(blocks * self._size, len(words) - 1) - kept * self._size if found else 0
        if found:
            text = f"Reqid: {request}, Total tokens {len(words)}, kvpool hit tokens: "
            text += f"{kept * self._size + pooled}, need to load: {pooled}"
            self._log.info(CORE, "pool_scheduler.py:559", text)
        loaded = [word for block in found for word in block]
        sound = loaded == words[kept * self._size : blocks * self._size]
        return Hit(kept * self._size, pooled, blocks, sound=sound)

    def save(self, words: list[str], hit: Hit) -> None:
        """Keep a prompt, and put into the pool what was computed of it."""
        chain = list(self._chain(words))
        if self._keeps:
            self._own.update((key, None) for key, _ in chain)
            while len(self._own) > KEPT:
                self._own.popitem(last=False)
        new = chain[hit.blocks :]
        if not new or not self.saves:
            return
        try:
            self._client.put(new)
        except OSError:
            self._complain([key for key, _ in new])

    def _chain(self, words: list[str]) -> Iterator[tuple[str, list[str]]]:
        """Key and words of each full block."""
        before = self._seed
        for start in range(0, len(words) - self._size + 1, self._size):
            block = words[start : start + self._size]
            before = hashlib.sha256("\0".join((before, *block)).encode("utf-8", "replace")).hexdigest()
            yield f"{self._model}@{before}", block

    def _find(self, keys: list[str]) -> list[list[str]]:
        """Without a master nothing is found; the engine only complains when it puts something."""
        try:
            return self._client.get(keys) if keys else []
        except OSError:
            return []

    def _complain(self, keys: list[str]) -> None:
        code = RPC_FAIL if self._backend == MOONCAKE else ERROR
        text = f"Failed to put key {keys},res:{[code] * len(keys)}"
        if self._release >= COUNTS_ONLY:
            text = f"Failed to put {len(keys)} keys out of {len(keys)}. error_codes={[code]}. "
            text += "Check memory and store capacity."
        self._log.error(CORE, f"{self._backend}_backend.py:209", text)
