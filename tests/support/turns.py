"""Several threads of which one runs at a time, in an order that a test chooses."""

import threading
from collections.abc import Callable, Iterable, Sequence


class Turns:
    """Each work runs up to its next ``wait(number)``, then it is another's turn."""

    def __init__(self, works: Sequence[Callable[[], None]]) -> None:
        self._go = [threading.Semaphore(0) for _ in works]
        self._back = threading.Semaphore(0)
        self._ended: dict[int, BaseException | None] = {}
        for number, work in enumerate(works):
            threading.Thread(target=self._run, args=(number, work), daemon=True).start()

    def _run(self, number: int, work: Callable[[], None]) -> None:
        self._go[number].acquire()
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:  # noqa: BLE001 - raised again where the turns are given
            error = raised
        self._ended[number] = error
        self._back.release()

    def wait(self, number: int) -> None:
        """In a work: stop here until it is its turn again."""
        self._back.release()
        self._go[number].acquire()

    def take(self, order: Iterable[int]) -> None:
        """Give turns in this order, then to each in turn until all have ended; raises what they raised."""
        for number in order:
            self._step(number)
        while len(self._ended) < len(self._go):
            for number in range(len(self._go)):
                self._step(number)
        for error in filter(None, self._ended.values()):
            raise error

    def _step(self, number: int) -> None:
        if number not in self._ended:
            self._go[number].release()
            self._back.acquire()
