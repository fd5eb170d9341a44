"""``timeout``: a limit in time that never loses a cancellation.

Before Python 3.12 ``asyncio.wait_for`` loses one that comes in the moment in which what it waits for ends.
The cancelled task then continues, and who waits for its end waits as long as it likes.
"""

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout  # novm: its Python has it
else:  # aiohttp brings it along there
    from async_timeout import timeout

__all__ = ["timeout"]
