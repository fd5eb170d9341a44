"""What stands in for library modules that take longer to load than a session to start."""

import json
import subprocess
import sys
import threading

import pytest

from dplaunch.node.guard.flag import Flag
from dplaunch.node.guard.plain import dumps, loads

VALUES = [
    None,
    True,
    1,
    -1.5e300,
    float("inf"),
    "",
    'a"\\\n\x00é\U0001f680',
    [],
    {},
    {"a": [{"b": None}, [0.1]]},
    [[[]]],
]
TEXTS = [
    "",
    " ",
    "{",
    "[1,]",
    "nul",
    "1 2",
    '"a',
    '"\x01"',
    "{'a': 1}",
    '{"a"}',
    "\ufeff1",
    "[NaN, -Infinity]",
    " [1]\r\n",
]


def read(function, text):
    """What comes of it: a value's own text, or that it is refused."""
    try:
        return repr(function(text))
    except ValueError as error:
        return type(error), str(error)


def test_json_is_said_and_read_as_by_json_itself():
    assert [dumps(value) for value in VALUES] == [json.dumps(value) for value in VALUES]
    texts = [*TEXTS, *map(json.dumps, VALUES)]
    assert [read(loads, text) for text in texts] == [
        read(json.loads, text.strip(" \t\r\n")) for text in texts
    ]
    assert loads(b"[1, 2]") == [1, 2]
    assert [read(loads, said)[0] for said in (b"\xff", b"{")] == [UnicodeDecodeError, json.JSONDecodeError]
    with pytest.raises(TypeError, match="cannot be said in JSON"):
        dumps({"a": object()})


@pytest.mark.parametrize("change", ["sys.modules['_json'] = None", "import _json; del _json.make_encoder"])
def test_a_python_whose_json_has_another_half_in_c_is_served_by_json(bundle, change):
    text = f"""
import sys
sys.path.insert(0, {str(bundle)!r})
{change}
from guard.plain import dumps, loads
print(loads(dumps({{"a": [1, "é"]}})), dumps.__module__)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", text], capture_output=True, text=True, check=True
    )
    assert done.stdout == "{'a': [1, 'é']} json\n"


def test_a_flag_wakes_all_who_wait_and_stays_set():
    flag = Flag()
    assert (flag.is_set(), flag.wait(0.0), flag.wait(-1.0)) == (False, False, False)
    seen = []
    waiting = [threading.Thread(target=lambda: seen.append(flag.wait(20.0))) for _ in range(8)]
    for thread in waiting:
        thread.start()
    flag.set()
    flag.set()
    for thread in waiting:
        thread.join(20.0)
    assert seen == [True] * 8
    assert (flag.is_set(), flag.wait(0.0)) == (True, True)
