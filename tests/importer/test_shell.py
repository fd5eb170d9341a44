"""What reading a script finds, and what it notes of the rest."""

import pytest

from dplaunch.errors import UsageError
from dplaunch.importer import Wanted, bring, read

START = "vllm serve m --port 9000"


def source(text, **files):
    """What a script on one host starts; ``files`` lie beside it."""
    texts = {"start.sh": text, **{name.replace("_", ".", 1): more for name, more in files.items()}}
    return read(Wanted((("h", "start.sh"),)), lambda name: reading(texts, name))


def reading(texts, name):
    if name not in texts:
        raise FileNotFoundError(2, "No such file or directory", name)
    return texts[name]


def words(text, **files):
    return [" ".join(one.words) for one in source(text, **files).launches]


@pytest.mark.parametrize(
    ("text", "started"),
    [
        ("A=1; vllm serve m --x $A", ["m --x 1"]),
        ("A='a b'; vllm serve m --x \"$A\" $A", ["m --x a b a b"]),
        ("vllm serve m --x '$A' \"\\$B\"", ["m --x $A $B"]),
        ("vllm serve m --x ${A:-3} ${B-4}", ["m --x 3 4"]),
        ('A=; vllm serve m $A --x "$A"y', ["m --x y"]),
        ("for i in 0 1; do vllm serve m --port $((9000 + i * 2)); done", ["m --port 9000", "m --port 9002"]),
        ("for i in $(seq 1 2); do\n  vllm serve m --x $i &\ndone\nwait", ["m --x 1", "m --x 2"]),
        ('A=(--x 1\n  --y)\nA+=(--z)\nvllm serve m "${A[@]}"', ["m --x 1 --y --z"]),
        ("nohup vllm serve m --x 1 > log.$i 2>&1 &", ["m --x 1"]),
        ("exec /opt/bin/vllm serve m &> log", ["m"]),
        ("python3 -m vllm.entrypoints.openai.api_server --model m --x 1", ["--model m --x 1"]),
        ("bash -x inner.sh 7 8", ["m --port 8"]),
        ("cd .\n./inner.sh 7 8", ["m --port 8"]),
        ("set -- 1\nunset A\nvllm serve m --x $A", ["m --x ${A}"]),
    ],
)
def test_words_are_what_the_shell_would_make_of_them(text, started):
    assert words(text, inner_sh="vllm serve m --port $2") == started


def test_only_what_is_exported_reaches_the_engine():
    found = source("A=1\nexport B=$A C\nexport D=/x:$D\nE=2 F=3 vllm serve m --x $E\nexport C=late").launches
    assert found[0].env == {"B": "1", "D": "/x:${D}", "E": "2", "F": "3"}


def test_what_prepares_the_shell_goes_into_setup():
    found = source("source /usr/local/Ascend/set_env.sh\n. inner.sh\nvllm serve m --x $K", inner_sh="K=5")
    assert found.setup == ["source /usr/local/Ascend/set_env.sh"]
    assert found.launches[0].words == ("m", "--x", "5")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (f"if [ -z $A ]; then\n  export A=1\nfi\n{START}", "start.sh line 1", "if [ -z $A ]"),
        (f"\n[ -z $A ] && export A=1\n{START}", "start.sh line 2", "depends on a condition"),
        (f"start() {{\n  {START}\n}}\n{START}", "start.sh line 1", "start()"),
        (f"export A=$(date +%s)\n{START}", "start.sh line 1", "$(date +%s)"),
        (f"ulimit -n 65535\n{START}", "start.sh line 1", "ulimit -n 65535"),
        (f"bash other.sh 1\n{START}", "start.sh line 1", "other.sh"),
        (f"numactl -N 0 {START}", "start.sh line 1", "numactl -N 0"),
        (f"python3 train.py --x 1\n{START}", "start.sh line 1", "train.py"),
        (f"while read host; do {START}; done < hosts\n{START}", "start.sh line 1", "while read host"),
    ],
)
def test_what_reading_cannot_follow_is_noted_with_its_line(text, where, what):
    found = source(text)
    assert len(found.launches) == 1
    assert [(one.where, what in one.text) for one in found.left if one.matters] == [(where, True)]


@pytest.mark.parametrize(
    "line", ["mkdir -p logs", "true | cat", "export HCCL_IF_IP=$(hostname -I | awk '{print $1}')"]
)
def test_what_no_engine_notices_is_noted_too(line):
    (one,) = source(f"{line}\n{START}").left
    assert not one.matters


def test_header_lines_say_where_each_part_runs():
    text = f"""vllm_unused=1
# 192.0.2.1
{START} --x 1
# node: b.example
# just a comment
{START} --x 2
# hosts 192.0.2.[3-4]:
{START} --x 3
"""
    found = read(Wanted((("", "all.sh"),)), lambda _: text).launches
    assert [(one.host, one.words[-1], one.where) for one in found] == [
        ("192.0.2.1", "1", "all.sh line 3"),
        ("b.example", "2", "all.sh line 6"),
        ("192.0.2.3", "3", "all.sh line 8"),
        ("192.0.2.4", "3", "all.sh line 8"),
    ]


RANK = "vllm serve m --data-parallel-size 2 --data-parallel-rank {} --data-parallel-address a"


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"a": "echo hello"}, "no engine is started"),
        ({"": START}, "no host is named"),
        ({"a": RANK.format(0)}, "ranks 1 are missing"),
        ({"a": RANK.format(0), "b": RANK.format(0)}, "ranks 1 are missing and ranks 0 are started twice"),
        ({"a": f"{START} -tp 2", "b": f"{START} -tp 4"}, "different sizes"),
        ({"a": "vllm serve --port 1"}, "no model"),
        ({"a": "vllm serve m --port $2"}, "takes arguments"),
        ({"a": "vllm serve m --headless -dp 2 -dpl 1 -dpr 1 -dpa b"}, "ranks 0 are missing"),
    ],
)
def test_what_no_cluster_file_can_say_is_refused_with_the_reason(files, what):
    with pytest.raises(UsageError) as error:
        bring(Wanted(tuple((host, f"{host}.sh") for host in files)), lambda name: files[name[:-3]])
    assert what in error.value.text
    assert error.value.hint or what == "no model"


def test_a_missing_file_is_named():
    with pytest.raises(UsageError, match=r"gone.sh cannot be read"):
        read(Wanted((("a", "gone.sh"),)), lambda name: reading({}, name))
