"""A plugin of vLLM: what its CPU back end lacks for expert parallelism over data-parallel ranks (0.28 to 0.32).

Source: vllm-project/vllm#57837 (issue) and #47778 (pull request). Two gaps, closed from outside: the communicator has no
``all_gatherv`` and ``reduce_scatterv``, and the expert kernel ignores which experts a rank has. Correct, not fast.
"""

from typing import Any


def register() -> None:
    """Close both gaps where vLLM runs on a CPU; vLLM calls it in every one of its processes."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        _gather()
        _choose_experts()


def _gather() -> None:
    import torch
    import torch.distributed as dist
    from vllm.distributed.device_communicators.base_device_communicator import DeviceCommunicatorBase
    from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator

    if CpuCommunicator.all_gatherv is not DeviceCommunicatorBase.all_gatherv:
        return

    def gather(self: Any, tensor: Any, counts: list[int]) -> Any:
        padded = tensor.new_zeros((max(counts), *tensor.shape[1:]))
        padded[: tensor.shape[0]] = tensor
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded, group=self.device_group)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def all_gatherv(self: Any, given: Any, dim: int = 0, sizes: Any = None) -> Any:
        assert dim == 0
        tensors = given if isinstance(given, (list, tuple)) else [given]
        found = [gather(self, one, list(sizes or [one.shape[0]] * self.world_size)) for one in tensors]
        return found if isinstance(given, (list, tuple)) else found[0]

    def reduce_scatterv(self: Any, given: Any, dim: int = 0, sizes: Any = None) -> Any:
        assert dim == 0
        counts = list(sizes or [given.shape[0] // self.world_size] * self.world_size)
        total = given.to(torch.float32).contiguous()
        total = total.clone() if total is given else total
        dist.all_reduce(total, group=self.device_group)
        first = sum(counts[: self.rank_in_group])
        return total[first : first + counts[self.rank_in_group]].to(given.dtype)

    CpuCommunicator.all_gatherv = all_gatherv
    CpuCommunicator.reduce_scatterv = reduce_scatterv


def _choose_experts() -> None:
    import torch
    from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts

    whole = CPUUnquantizedExperts.apply
    if getattr(whole, "knows_its_experts", False):
        return

    # Under vLLM's own names: it passes them by name.
    def apply(
        self: Any, output: Any, hidden_states: Any, w1: Any, w2: Any, topk_weights: Any, topk_ids: Any,
        activation: Any, global_num_experts: Any, expert_map: Any, *rest: Any, **more: Any,
    ) -> Any:  # fmt: skip
        if expert_map is not None:
            local = expert_map[topk_ids.long()]
            topk_weights = torch.where(local < 0, torch.zeros_like(topk_weights), topk_weights)
            topk_ids = local.clamp(min=0).to(topk_ids.dtype)
        return whole(
            self, output, hidden_states, w1, w2, topk_weights, topk_ids, activation, global_num_experts, expert_map,
            *rest, **more,
        )  # fmt: skip

    apply.knows_its_experts = True
    CPUUnquantizedExperts.apply = apply
