"""The model library's run_pa.py as a job: a process for each rank, done when all end with code 0.

Source: MindIE LLM's guide to inference on several servers (BACKEND, WORLD_SIZE, RANK, LOCAL_RANK,
RANKTABLEFILE); MindIE-LLM, examples/atb_models/examples/run_pa.py and atb_llm/utils/env.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from msgspec.structs import replace

from dplaunch.engines import rules
from dplaunch.engines.adapter import Command, EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.ascend.facts import HCCL_HOST_PORTS
from dplaunch.engines.facts import EngineFacts
from dplaunch.engines.flags import words
from dplaunch.engines.layout import per_device
from dplaunch.engines.mindie import parallel, shared
from dplaunch.engines.settings import Env, secrets, user_env, user_flags
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import File, Process, RankTable, Ready, Stage, StopStep
from dplaunch.nearest import did_you_mean

SCRIPT = "run_pa.sh"
PROGRAM = "./examples/run_pa.py"
CONTRACT = ("rank", "local_rank")
FLAGS = (
    *("input_text", "input_texts", "input_ids", "input_file", "input_dict", "max_prefill_batch_size"),
    *(
        "max_batch_size",
        "max_input_length",
        "max_output_length",
        "max_position_embeddings",
        "max_prefill_tokens",
    ),
    *("block_size", "chat_template", "ignore_eos", "is_chat_model", "is_embedding_model", "load_tokenizer"),
    *("enable_atb_torch", "trust_remote_code", "microbatch_size", "kw_args", "lora_modules", "max_loras"),
    *("max_lora_rank", "distributed_enable", "use_refactor", "is_flash_model", "is_bf16"),
)
"""Of run_pa.py, without the sizes that roles have."""

FACTS = EngineFacts(
    kind="mindie-atb",
    needs=frozenset(("hardware", "devices")),
    families=(("a3", 16), ("a2", 0)),
    example_hardware="atlas-800i-a2",
    ports={"pipeline": 12345},
    reserved=(HCCL_HOST_PORTS,),
    script=SCRIPT,
    stages=(
        Stage("device", r"Current process is setting device"),
        Stage("weights", r"Current process finished setting device"),
        Stage("warm-up", r"-begin warm_up-"),
        Stage("inference", r"-begin inference-"),
        Stage("answer", r"-end inference-"),
    ),
    packages=shared.PACKAGES,
    must_agree=("CANN", "torch_npu", "atb_llm"),
    computed={r"model-path": "model", r"(?:dp|tp|pp)": "the size of the role", r"cp": "pcp of the role"},
    titles=(r"\S*examples/run_pa\.py", r"-m examples\.run_pa"),
    spans_nodes=True,
    takes_rank_table=True,
    serves=False,
)

STAND_IN = '''\
"""Stands in for the model library's run_pa.py: it takes the same arguments, environment and rank table."""

import os
import sys

bundle = os.environ["DPLAUNCH_BUNDLE"]
os.execv(sys.executable, [sys.executable, "-I", "-S", bundle, "rehearsal", "run_pa.py", *sys.argv[1:]])
'''


class Atb(EngineAdapter):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``mindie-atb 2.0``."""
        return f"{FACTS.kind} {spec.engine.version}".rstrip()

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """What run_pa.py would refuse, and keys without an effect on a job."""
        return (*shared.check(spec), *parallel.check(spec), *_alone(spec), *_flags(spec))

    def rank_table(self, spec: ClusterSpec) -> RankTable | None:
        """Of all nodes, where there are several."""
        return shared.rank_table(spec, containers=False)

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """Only the stages of a pipeline meet over one; everything else goes by the rank table."""
        del spec
        return (PortNeed("pipeline", "rendezvous", per="group"),) if role.pp > 1 else ()

    def files(self, site: Site) -> tuple[Template | File, ...]:
        """The script of the node, and a rank table that the cluster file names."""
        script = Template(site.script_path, "mindie/run_pa.sh.j2", self._context(site))
        return (script, *shared.table_file(site))

    def processes(self, site: Site) -> Iterator[Process]:
        """One for each device: the script with its rank, and its rank on the node."""
        for process in per_device(site):
            yield replace(
                process,
                kind="job",
                argv=("bash", site.script_path, *_arguments(process)),
                env=secrets(site, site.seats[0]),
                stop=(StopStep("TERM", 10.0), StopStep("KILL", 10.0)),
                ready=Ready("exit"),
            )

    def commands(self, site: Site) -> Mapping[str, Command]:
        """What the script starts for each rank."""
        argv = (site.spec.runtime.python, PROGRAM, *(word for flag in self._flags(site) for word in flag))
        env = self._env(site) | user_env(site, site.seats[0])
        texts = {name: value for name, value in env.items() if isinstance(value, str)}
        ranks = {process.name: _arguments(process) for process in per_device(site)}
        return {
            name: Command(argv, {**texts, "RANK": rank, "LOCAL_RANK": local})
            for name, (rank, local) in ranks.items()
        }

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """A model library that holds nothing but run_pa.py."""
        del spec
        home = {"ATB_SPEED_HOME_PATH": "${DPLAUNCH_ROOT}/bin/atb"}
        return StandIn({"atb/examples/run_pa.py": STAND_IN}, home)

    def _env(self, site: Site) -> Env:
        role, seat = site.role, site.seats[0]
        env: Env = {"BACKEND": "hccl", "WORLD_SIZE": str(parallel.sizes(role).world)}
        table = self.rank_table(site.spec)
        env |= shared.table_env(table)
        if table is None:
            env["ASCEND_RT_VISIBLE_DEVICES"] = ",".join(map(str, shared.group_devices(site, seat)))
        if role.pp > 1:
            env |= {"MASTER_IP": seat.master, "MASTER_PORT": str(seat.port("pipeline"))}
        return env | shared.network_env(site)

    def _flags(self, site: Site) -> list[tuple[str, ...]]:
        """The model, sizes that are not MindIE's own choice, and the file's flags, spelt as it has them."""
        sizes = parallel.sizes(site.role).chosen
        given = user_flags(site, site.seats[0], lambda _: False)
        own = [_spelt(flag) for key, flag in given.items() if flag and key not in parallel.SIZES]
        return [("--model_path", site.spec.model), *(words(name, size) for name, size in sizes.items()), *own]

    def _context(self, site: Site) -> dict[str, object]:
        return {
            **shared.context(site, self._env(site)),
            "release": self.release(site.spec),
            "script": SCRIPT,
            "unit": "One run is one rank of a job: one device of the group",
            "program": PROGRAM,
            "contract": CONTRACT,
            "engines": [(process.name, _arguments(process)) for process in per_device(site)],
            "flags": self._flags(site),
        }


def _arguments(process: Process) -> tuple[str, str]:
    """What a process gives the script: RANK, and LOCAL_RANK on its node."""
    seat = process.seats[0]
    return str(seat.rank), str(seat.local_rank)


def _spelt(flag: tuple[str, ...]) -> tuple[str, ...]:
    """``--max-batch-size`` → ``--max_batch_size``."""
    name, equals, value = flag[0].partition("=")
    return (f"--{name[2:].replace('-', '_')}{equals}{value}", *flag[1:])


def _alone(spec: ClusterSpec) -> Iterator[Problem]:
    if spec.router is not None and spec.router.kind != "none":
        text = f"{FACTS.kind} runs a job, which has no endpoint that a router could reach"
        yield Problem(text, key="router", hint="remove router")
    for role in spec.roles:
        if role.groups > 1:
            text = f"{role.name} has {role.groups} groups, and a job is one"
            yield Problem(text, key=f"roles.{role.name}.groups", hint="a cluster file for each job")
    if spec.model and not PurePosixPath(spec.model).is_absolute():
        text = f"model {spec.model} is not an absolute path: run_pa.py loads a folder"
        yield Problem(text, key="model", hint="the folder of the weights, the same on every node")


def _flags(spec: ClusterSpec) -> Iterator[Problem]:
    known = {name.replace("_", "-") for name in FLAGS} | set(parallel.SIZES)
    for place, args in rules.arguments(spec):
        for key in args:
            if key not in known:
                text = f"run_pa.py has no flag --{key.replace('-', '_')}"
                otherwise = "its flags are in examples/run_pa.py of the model library"
                hint = did_you_mean(key.replace("-", "_"), FLAGS, otherwise)
                yield Problem(text, key=f"{place}.{key}", hint=hint, at_key=True)


ADAPTER = Atb()
