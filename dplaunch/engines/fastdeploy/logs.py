"""FastDeploy's own log files below FD_LOG_DIR: those that explain a failure, of some twenty.

Source: docs/zh/usage/log.md, and the names that fastdeploy/utils.py, engine/common_engine.py and
splitwise/splitwise_connector.py give them, which releases have changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dplaunch.engines.adapter import Site
from dplaunch.engines.fastdeploy import command, forms
from dplaunch.engines.versions import at_least
from dplaunch.model.plan import LogFile, Seat

FILE_FOR_EACH_RANK = "2.4"
"""From then on the engine and the connector of each of several ranks have a file of their own."""
Names = dict[str, str]
"""What a log is called here → its file, or a pattern of which the newest is followed."""


def of_servers(site: Site, seats: Sequence[Seat]) -> tuple[LogFile, ...]:
    """What a parent's servers write, each below a folder of its own; or the one server of a group."""
    server = {"api_server": "api_server.log"}
    if forms.form(site.spec) == "scheduled":
        whole = _of_workers(site, seats) | server | _of_ranks(site, seats) | {"scheduler": "scheduler.log"}
        return tuple(_files(_folder(site, seats), whole))
    own = forms.log_folder(site.spec.engine.version, command.FOLDER_OF_LOGS)
    folder = f"{command.folder(site, seats)}/{own}log_"
    found: list[LogFile] = []
    for seat in seats:
        names = server | _of_ranks(site, (seat,))
        if seat.local_rank == 0:
            names = _of_workers(site, seats) | names
        found += _files(f"{folder}{seat.local_rank}", names, f"-{seat.local_rank}")
    return tuple(found)


def of_program(site: Site, seats: Sequence[Seat]) -> tuple[LogFile, ...]:
    """What an offline program writes."""
    scheduler = {"scheduler": "scheduler.log"} if site.spec.redis is not None else {}
    return tuple(_files(_folder(site, seats), _of_workers(site, seats) | _of_ranks(site, seats) | scheduler))


def _of_workers(site: Site, seats: Sequence[Seat]) -> Names:
    """Of all cards, which the process with the engine starts."""
    cards = len(seats) * site.role.tp
    return {f"workerlog.{card}": f"workerlog.{card}" for card in range(cards)} | {
        "launch_worker": "launch_worker.log"
    }


def _of_ranks(site: Site, seats: Sequence[Seat]) -> Names:
    """Of the engine service of each rank, and of what moves KV."""
    several = site.role.dp > 1 and at_least(site.spec.engine.version, FILE_FOR_EACH_RANK)
    ranks = [f"_dprank{seat.local_rank}" for seat in seats] if several else [""]
    names = dict.fromkeys(("fastdeploy", *(f"fastdeploy{rank}" for rank in ranks)))
    found = {name: f"{name}.log" for name in names} | {"cache_manager": "*cache_manager.log"}
    if site.spec.disaggregated:
        found |= {f"splitwise_connector{rank}": f"splitwise_connector{rank}.log" for rank in ranks}
        found["cache_messager"] = "cache_messager*.log"
    return found


def _folder(site: Site, seats: Sequence[Seat]) -> str:
    return f"{command.folder(site, seats)}/{command.FOLDER_OF_LOGS}"


def _files(folder: str, names: Names, suffix: str = "") -> Iterator[LogFile]:
    return (LogFile(f"{name}{suffix}", f"{folder}/{path}") for name, path in names.items())
