"""Offline inference as a job: the program that is rendered runs, ends, and says why it failed; what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dplaunch import plan, spec
from dplaunch.engines.fastdeploy import flag_rules
from dplaunch.model.plan import Ready
from dplaunch.render import clusters_root

FILE = """\
cluster: c
engine: {kind: fastdeploy-offline, version: "%(version)s"}
model: some/model
hardware: gpu-8
nodes:
  - {name: "n[1-2]", host: "192.0.2.[1-2]"}
roles: %(roles)s
%(more)s
"""
ROLES = "{serve: {nodes: n1, dp: 8, ep: 8, args: {%s}}}"
ASKED = "prompts: [one two, three], sampling-params: {temperature: 0.8, max-tokens: 2}"
REDIS = "redis: {node: n1}"
FASTDEPLOY = '''\
"""Writes down how it was called, and answers with the prompt; its worker ends first where the model is bad."""
import json, subprocess, sys, threading

class SamplingParams:
    def __init__(self, **given):
        print(json.dumps(given))

class Output:
    def __init__(self, prompt):
        self.prompt, self.outputs, self.error_msg = prompt, self, "No Schedule Nodes"
        self.text, self.error_code = prompt.upper(), 500 if prompt == "refused" else 200

class LLM:
    def __init__(self, **given):
        print(json.dumps(given))
        self.llm_engine = self
        program = "import sys; sys.exit(3)" if given["model"] == "bad" else "input()"
        self.worker_proc = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
        threading.Thread(target=threading.Event().wait).start()  # never ends, as a scheduler's

    def generate(self, prompts, sampling_params):
        if self.worker_proc.stdin and "bad" in prompts:
            threading.Event().wait()
        return [Output(prompt) for prompt in prompts]
'''


def loaded(args=ASKED, *, roles=ROLES, version="2.3.0", more=REDIS):
    text = FILE % {"version": version, "roles": roles % args if "%s" in roles else roles, "more": more}
    return spec.load(text, "c.yaml", read_file=lambda _: "").spec


def program(given):
    [text] = [f.text for n in plan.build(given).nodes for f in n.files if f.path.endswith("_offline.py")]
    return text


def problems(**named):
    return [(p.key, p.text) for p in plan.check(loaded(**named)) if not p.warning]


@pytest.fixture
def run(tmp_path):
    """``run(TEXT)`` runs it with a FastDeploy that only notes how it is called."""
    (tmp_path / "fastdeploy.py").write_text(FASTDEPLOY)
    (tmp_path / "log").mkdir()

    def one(text):
        (tmp_path / "offline.py").write_text(text)
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "DPLAUNCH_REDIS_PASSWORD": "secret"}
        argv = [sys.executable, "offline.py"]
        return subprocess.run(
            argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=20, check=False
        )

    return one


@pytest.mark.parametrize("name", ["ernie-gpu-offline", "ernie-gpu-offline-tp"])
def test_the_program_of_an_example(name, expect):
    path = clusters_root() / f"{name}.yaml"
    text = program(spec.load(path.read_text(), str(path), read_file=lambda _: "").spec)
    expect(Path(__file__).parent / "programs" / f"{name}.py.txt", text)


def test_it_is_one_job_with_all_ranks_and_no_endpoint():
    planned = plan.build(loaded())
    job, redis = planned.processes
    assert (job.name, job.kind, job.ready, job.endpoints) == ("serve@n1", "job", Ready("exit"), ())
    assert len(job.seats) == 8
    assert job.after == ("redis",)
    assert planned.is_job
    assert planned.jobs == (job,)
    assert redis.kind == "service"


def test_the_program_calls_llm_as_the_document_does_and_ends(run):
    done = run(program(loaded()))
    assert done.returncode == 0, done.stderr
    sampling, called, *answers = done.stdout.splitlines()
    assert sampling == '{"temperature": 0.8, "max_tokens": 2}'
    queues = ",".join(str(25600 + rank) for rank in range(8))
    assert (
        f'"data_parallel_size": 8, "enable_expert_parallel": true, "engine_worker_queue_port": "{queues}"'
        in called
    )
    assert '"scheduler_name": "splitwise", "scheduler_host": "192.0.2.1", "scheduler_port": 6379, "scheduler_topic": "c"' in called  # fmt: skip
    assert "pd_comm_port" not in called
    assert answers == [
        "prompt:  one two",
        "generated_text:  ONE TWO",
        "prompt:  three",
        "generated_text:  THREE",
    ]


def test_prompts_and_answers_may_be_files(run, tmp_path):
    (tmp_path / "in").write_text("one\n\ntwo\n")
    files = f"prompts-file: {tmp_path}/in, output-file: {tmp_path}/out"
    done = run(program(loaded(files, roles="{serve: {nodes: n1, tp: 2, args: {%s}}}", more="")))
    assert done.returncode == 0, done.stderr
    assert "2 answers written to" in done.stdout
    assert (tmp_path / "out").read_text().splitlines()[1] == '{"prompt": "two", "text": "TWO", "error": "No Schedule Nodes"}'  # fmt: skip


def test_the_end_of_its_workers_ends_it_with_their_last_words(run, tmp_path):
    (tmp_path / "log" / "workerlog.0").write_text("CUDA error(700)\n")
    done = run(program(loaded('prompts: ["bad"]')).replace("'some/model'", "'bad'"))
    assert done.returncode == 1
    assert "CUDA error(700)\nERROR: FastDeploy's worker processes have ended with code 3" in done.stderr


def test_a_prompt_without_an_answer_fails_the_job(run):
    done = run(program(loaded("prompts: [one, refused]")))
    assert done.returncode == 1
    assert "generated_text:  ONE" in done.stdout
    assert "ERROR: no answer to 'refused' - No Schedule Nodes" in done.stderr


def test_an_exception_is_its_last_line(run):
    done = run(program(loaded()).replace("import threading", "import threading, nonsense", 1))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: No module named 'nonsense'")


@pytest.mark.parametrize("version", ["2.2.0", "2.3.0", "2.4.0", "2.5.0", "2.6.0"])
def test_every_argument_is_a_field_of_that_release(version):
    text = program(loaded(version=version))
    call = text[text.index("llm = LLM(") :].partition("    )\n")[0]
    given = {line.strip().partition("=")[0] for line in call.splitlines()[1:]}
    assert given <= {name.replace("-", "_") for name in flag_rules.flags(version).known}
    assert ("pd_comm_port" in given) is (version >= "2.5")


def test_a_time_limit_of_the_scheduler_may_be_given():
    assert "scheduler_ttl=60," in program(loaded(f"{ASKED}, scheduler-ttl: 60"))


def test_before_2_3_the_queue_of_the_cache_is_a_number():
    assert "cache_queue_port=26600," in program(loaded(version="2.2.0"))
    assert "cache_queue_port='26600,26601" in program(loaded(version="2.3.0"))


def test_a_password_of_redis_stands_in_no_file():
    given = loaded(more="redis: {node: n1, password: {from_env: P}}")
    assert "scheduler_password=os.environ['DPLAUNCH_REDIS_PASSWORD']," in program(given)
    assert list(plan.build(given).processes[0].env) == ["DPLAUNCH_REDIS_PASSWORD"]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"more": ""}, "roles.serve.dp"),
        ({"roles": "{serve: {nodes: n1, dp: 8, args: {%s}}}"}, "roles.serve.dp"),
        ({"more": f"{REDIS}\nrouter: {{node: n1}}"}, "router"),
        ({"roles": "{serve: {nodes: 'n[1-2]', dp: 16, ep: 16, args: {%s}}}"}, "roles.serve.nodes"),
        ({"args": "seed: 1"}, "roles.serve.args"),
        ({"args": f"{ASKED}, prompts-file: /x"}, "roles.serve.args"),
        ({"args": "prompts-file: x.txt"}, "roles.serve.args.prompts-file"),
        ({"args": f"{ASKED}, output-file: x.txt"}, "roles.serve.args.output-file"),
        ({"args": "prompts: [1]"}, "roles.serve.args.prompts"),
        ({"args": "prompts: [a], sampling-params: {temprature: 1}"}, "roles.serve.args.sampling-params"),
        ({"args": "prompts: [a], sampling-params: 1"}, "roles.serve.args.sampling-params"),
        ({"args": "prompts: [a], max-modle-len: 1"}, "roles.serve.args.max-modle-len"),
        ({"args": "prompts: [a], workers: 2"}, "roles.serve.args.workers"),
        ({"args": "prompts: [a], host: h"}, "roles.serve.args.host"),
        ({"args": "prompts: [a], no-enable-prefix-caching: true"}, "roles.serve.args.no-enable-prefix-caching"),
        ({"roles": "{prefill: {nodes: n1, args: {prompts: [a]}}, decode: {nodes: n2, args: {prompts: [a]}}}"}, "roles.prefill"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_a_problem_of_its_key(given, key):
    assert [found for found, _ in problems(**given)] == [key]


def test_a_rehearsal_neither_reads_nor_writes_the_files_of_the_nodes():
    files = "prompts-file: /data/in, output-file: /data/out"
    given = loaded(files, roles="{serve: {nodes: n1, tp: 2, args: {%s}}}", more="")
    planned = plan.build(given, rehearse=True)
    texts = [file.text for node in planned.nodes for file in node.files]
    assert not any("/data/" in text for text in texts)
    assert any("open('../../bin/prompts.txt'" in text for text in texts)
