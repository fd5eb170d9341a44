"""Endpoints and ports as tests write them."""

from dplaunch.model.plan import Endpoint, PortRange


def an_endpoint(name: str, node: str, url: str, *, model: str = "m", rank: int = 0) -> Endpoint:
    """An endpoint of group 0 of the role that ``name`` begins with; a name without a number is a service's."""
    role, dash, _ = name.rpartition("-")
    if not dash:
        return Endpoint(name=name, role=name, group=name, node=node, url=url, model=model)
    return Endpoint(name=name, role=role, group=f"{role}/0", node=node, url=url, ranks=(rank,), model=model)


def some_ports(http: int, rpc: int = 0, kv: tuple[int, int, int] | None = None) -> dict[str, PortRange]:
    """``kv``: first, end and the group's base."""
    found = {"http": PortRange(http)}
    if rpc:
        found["rpc"] = PortRange(rpc)
    if kv:
        found["kv"] = PortRange(kv[0], kv[1] - kv[0], kv[2])
    return found
