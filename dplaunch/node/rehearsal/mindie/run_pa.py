"""``python3 ./examples/run_pa.py``: one rank of a job, from its environment to its answer."""

from __future__ import annotations

import argparse
import os
import signal
import time

from .. import faults, knobs
from ..answers import answer, completion_prompts
from .devices import occupy
from .log import FatalError, Log
from .meeting import Meeting, hccl_port, report_lost
from .table import Table, read_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

STAGES = ("device", "weights", "warm-up", "inference")
NUMBERS = (
    *("max_prefill_batch_size", "max_batch_size", "max_input_length", "max_output_length"),
    *("max_position_embeddings", "max_prefill_tokens", "block_size", "dp", "tp", "moe_tp", "pp"),
    *("microbatch_size", "moe_ep", "sp", "cp", "max_loras", "max_lora_rank"),
)
TEXTS = ("input_file", "input_dict", "chat_template", "load_tokenizer", "kw_args", "lora_modules")
SWITCHES = (
    *("ignore_eos", "is_chat_model", "is_embedding_model", "enable_atb_torch", "trust_remote_code"),
    "distributed_enable",
)
SECONDS = 1.5
"""Of each stage at speed 1."""


def main(words: list[str]) -> int:
    """Play one rank until it ends; the exit code."""
    arguments = _parser().parse_args(words)
    log = Log("llm")
    try:
        rank = _number("RANK", 0, 0, _number("WORLD_SIZE", 1, 1, 1048577))
        return _Rank(arguments, rank, log).run()
    except FatalError as failure:
        return log.fail(failure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run_pa.py")
    parser.add_argument("--model_path")
    parser.add_argument("--input_texts", nargs="+", default=["What's deep learning?"])
    parser.add_argument("--input_ids", nargs="+")
    for name in NUMBERS:
        parser.add_argument(f"--{name}", type=int, default=20 if name == "max_output_length" else -1)
    for name in TEXTS:
        parser.add_argument(f"--{name}")
    for name in SWITCHES:
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def _number(name: str, usual: int, least: int, end: int) -> int:
    text = os.environ.get(name, str(usual))
    if not text.isdigit() or not least <= int(text) < end:
        raise FatalError(f"ValueError: {name} should be in the range of {least} to {end - 1}.")
    return int(text)


class _Rank:
    def __init__(self, arguments: argparse.Namespace, rank: int, log: Log) -> None:
        self.arguments = arguments
        self.rank = rank
        self.log = log
        self.world = _number("WORLD_SIZE", 1, 1, 1048577)
        self.local = _number("LOCAL_RANK", 0, 0, self.world)
        self.knobs = knobs.Knobs(dict(os.environ), rank, STAGES)
        path = os.environ.get("RANK_TABLE_FILE", "")
        self.table = read_table(path) if path else self._alone()
        self._held: socket.socket | None = None

    def run(self) -> int:
        """From the device to the answer."""
        faults.arm(self.knobs, self.log.plain, self._report_crash)
        self._check_sizes()
        address, device = self.table.place(self.rank)
        self._stage(
            "device", "dist.py-70", f"Current process is setting device npu:{device} for rank {self.rank}."
        )
        self._held = occupy(os.environ.get("DPLAUNCH_REHEARSAL_BIND", address), device, self.rank)
        text = f"Current process finished setting device npu:{device} for rank {self.rank}."
        self._stage("weights", "dist.py-92", text)
        host, first = self.table.place(0)
        meeting = Meeting(self.rank, self.world, (host, hccl_port(first)), self._lose)
        meeting.join()
        self._stage("warm-up", "run_pa.py-303", "---------------begin warm_up---------------")
        self.log.say("run_pa.py-330", "---------------end warm_up---------------")
        self._stage("inference", "run_pa.py-334", "---------------begin inference---------------")
        self._answer()
        meeting.part()
        return 0

    def _alone(self) -> Table:
        """Without a table all ranks are on this machine, on the devices that they see."""
        visible = os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "")
        devices = visible.split(",") if visible else [str(number) for number in range(self.world)]
        ranks = [{"rank_id": str(rank), "device_id": device} for rank, device in enumerate(devices)]
        return Table([{"server_id": os.environ.get("DPLAUNCH_REHEARSAL_BIND", "127.0.0.1"), "device": ranks}])

    def _check_sizes(self) -> None:
        """As mapping.py does: the sizes must fill the group."""
        sizes = {name: max(1, getattr(self.arguments, name)) for name in ("dp", "cp", "pp", "moe_ep")}
        tp = (
            self.arguments.tp
            if self.arguments.tp > 0
            else self.world // (sizes["dp"] * sizes["cp"] * sizes["pp"])
        )
        if sizes["pp"] > 1 and not (os.environ.get("MASTER_IP") and os.environ.get("MASTER_PORT")):
            text = "Master ip cannot be None when pipeline parallel is used. Please export MASTER_IP."
            raise FatalError(f"ValueError: {text}")
        if tp * sizes["dp"] * sizes["cp"] * sizes["pp"] != self.world:
            text = (
                "World size must equal to attention's dp_size * attention's cp_size * attention's tp_size. "
                f"Attention's tp_size is {tp}. World size is {self.world}."
            )
            raise FatalError(f"ValueError: {text}")

    def _stage(self, name: str, place: str, text: str) -> None:
        if name == self.knobs.hang:
            while True:
                signal.pause()
        self.log.say(place, text)
        time.sleep(SECONDS * self.knobs.speed)

    def _answer(self) -> None:
        if self.rank == 0:
            for number, prompt in enumerate(completion_prompts(self.arguments.input_texts)):
                words = answer(prompt.words, self.arguments.max_output_length, self.knobs.answer)
                self.log.say("run_pa.py-611", f"Answer[{number}]: {''.join(words)}")
                self.log.say(
                    "run_pa.py-612", f"Generate[{number}] token num: {self.arguments.max_output_length}"
                )
        self.log.say("run_pa.py-434", "---------------end inference---------------")

    def _lose(self, rank: int) -> None:
        del rank
        os._exit(self.log.fail(report_lost()))

    def _report_crash(self) -> None:
        self.log.fail(FatalError("RuntimeError: rehearsed failure"))
