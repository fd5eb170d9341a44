"""How MindIE LLM splits a model over the devices of a group, and which splits it refuses.

Source: MindIE-LLM, examples/atb_models/atb_llm/utils/mapping.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from dplaunch.engines.rules import reaching
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec, RoleSpec

SIZES = {"sp": "sp", "moe-ep": "moe_ep", "moe-tp": "moe_tp"}
"""Keys of ``args`` that are sizes too → MindIE's names."""
SOURCE = "MindIE-LLM, atb_llm/utils/mapping.py"


class Sizes(Struct, frozen=True, kw_only=True):
    """The parallel sizes of a group. ``local``: its devices on each node, ``world``: on all of them."""

    world: int
    local: int
    dp: int
    tp: int
    pp: int
    cp: int
    sp: int
    moe_ep: int
    moe_tp: int

    @property
    def chosen(self) -> dict[str, int]:
        """Those that differ from what MindIE takes by itself, which is tp over all devices, with tp."""
        usual = {"dp": 1, "pp": 1, "cp": 1, "sp": 1, "moe_ep": 1, "moe_tp": self.world}
        found = {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}
        return {"tp": self.tp, **found} if found else {}


def sizes(role: RoleSpec) -> Sizes:
    """The sizes of a role; with ``ep`` experts are spread over all devices unless args split them."""
    world = role.dp * role.devices_per_rank
    spread = world if role.expert_parallel else 1
    moe_tp = _size(role.args, "moe-tp")
    moe_ep = _size(role.args, "moe-ep") or max(1, spread // (moe_tp or 1))
    return Sizes(
        world=world,
        local=world // role.pods if role.pods else role.seats_per_node * role.devices_per_seat,
        dp=role.dp,
        tp=role.tp,
        pp=role.pp,
        cp=role.pcp,
        sp=_size(role.args, "sp") or 1,
        moe_ep=moe_ep,
        moe_tp=moe_tp or world // moe_ep,
    )


def _size(args: Mapping[str, ArgValue], key: str) -> int:
    value = args.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """What MindIE would refuse after it has loaded its libraries on every device."""
    for role in spec.roles:
        yield from _check_kinds(spec, role)
        found = sizes(role)
        yield from _check_attention(role, found)
        yield from _check_experts(role, found)


def _check_kinds(spec: ClusterSpec, role: RoleSpec) -> Iterator[Problem]:
    for settings in reaching(spec, role):
        for key, name in SIZES.items():
            where = f"{settings.place}.args.{key}"
            if key in settings.args and not _size(settings.args, key):
                yield Problem(f"{name} takes a whole number above 0", key=where, hint=f"{name}: 4")
            elif key in settings.args and not settings.place.startswith("roles."):
                hint = f"set it in roles.{role.name}.args"
                yield Problem(f"{name} is one for all ranks of {role.name}", key=where, hint=hint)
    if role.dcp > 1:
        text = "MindIE has no decode context parallelism of its own"
        yield Problem(text, key=f"roles.{role.name}.dcp", hint="remove dcp; pcp is MindIE's cp")


def _check_attention(role: RoleSpec, found: Sizes) -> Iterator[Problem]:
    for name, size in (("pcp", found.cp), ("pp", found.pp)):
        if size > 1 and found.dp > 1:
            text = f"MindIE cannot combine dp {found.dp} with {name} {size} of {role.name}"
            yield _problem(role, name, text, f"dp: 1, or {name}: 1")
    if found.pp > 1 and found.cp > 1:
        text = (
            f"MindIE cannot combine pp {found.pp} with pcp {found.cp} of {role.name}: tp × pp are all devices"
        )
        yield _problem(role, "pcp", text, "pp: 1, or pcp: 1")
    if found.pp == 1 and found.tp > found.local and found.tp != found.world:
        text = (
            f"tp {found.tp} of {role.name} is neither within the {found.local} devices of a node "
            f"nor all {found.world}"
        )
        yield _problem(role, "tp", text, f"tp: {found.local}, or tp: {found.world}")
    if found.sp not in (1, found.tp):
        yield _problem(
            role, "args.sp", f"sp {found.sp} of {role.name} must be its tp {found.tp}", f"sp: {found.tp}"
        )


def _check_experts(role: RoleSpec, found: Sizes) -> Iterator[Problem]:
    if found.pp > 1:
        return
    product = found.moe_ep * found.moe_tp
    if product != found.world:
        text = (
            f"moe_ep {found.moe_ep} × moe_tp {found.moe_tp} of {role.name} is {product}, "
            f"and a group has {found.world} devices"
        )
        given = next((key for key in ("moe-ep", "moe-tp") if key in role.args), "")
        key = f"args.{given}" if given else "ep"
        yield _problem(role, key, text, f"make moe_ep × moe_tp {found.world}")
    elif found.moe_tp > found.local and found.moe_tp != found.world:
        text = (
            f"moe_tp {found.moe_tp} of {role.name} is neither within the {found.local} devices of a node "
            f"nor all {found.world}"
        )
        yield _problem(role, "args.moe-tp", text, f"moe_tp: {found.local}, or moe_tp: {found.world}")


def _problem(role: RoleSpec, key: str, text: str, hint: str) -> Problem:
    return Problem(text, key=f"roles.{role.name}.{key}", hint=hint, source=SOURCE)
