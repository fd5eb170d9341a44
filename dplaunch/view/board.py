"""A picture that is replaced by the next one: ``status -w``."""

from __future__ import annotations

from rich.console import RenderableType
from rich.live import Live

from dplaunch.view.screen import Screen


class Board:
    """On a terminal one picture in place; elsewhere text that differs from the last one."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._last = ""
        self._live = (
            Live(console=screen.data, auto_refresh=False, redirect_stderr=False) if screen.live else None
        )

    def show(self, picture: RenderableType) -> None:
        """Replace the picture."""
        if self._live:
            self._live.start()
            self._live.update(picture, refresh=True)
            return
        with self._screen.data.capture() as captured:
            self._screen.data.print(picture, crop=False)
        if captured.get() != self._last:
            self._last = captured.get()
            self._screen.write(self._last)

    def close(self) -> None:
        """Leave the last picture on the screen."""
        if self._live:
            self._live.stop()
