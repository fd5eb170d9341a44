"""One JSON object per line, and the first line that a guard writes."""

import itertools
from collections.abc import Iterable, Iterator

import pytest

from dplaunch.errors import DplaunchError, HostError
from dplaunch.wire.lines import NOISE_LINES, PROTOCOL, Opening, decode, encode, greet

OPENING = Opening(b"first", b"code")
HELLO = {"event": "hello", "protocol": PROTOCOL, "root": "/r"}


class Written:
    """A stream that has these lines, then ends."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.sent = b""
        self._lines = lines

    def send(self, data: bytes) -> None:
        self.sent += data

    def lines(self) -> Iterator[bytes]:
        yield from self._lines


def test_encode_and_decode_are_inverse():
    message = {"id": 1, "verb": "put", "files": [{"text": "a\nb é"}]}
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize("line", [b"", b"Welcome", b"[1]", b"null", b'{"id": 1', b"\xff\xfe"])
def test_a_line_that_is_no_object_is_an_error_that_shows_it(line):
    with pytest.raises(DplaunchError) as caught:
        decode(line)
    assert repr(line.decode("utf-8", "replace")) in caught.value.text
    assert "run the command again" in caught.value.hint


def test_a_long_line_is_shown_only_in_part():
    with pytest.raises(DplaunchError) as caught:
        decode(b"x" * 5000)
    assert len(caught.value.text) < 200


@pytest.mark.parametrize("noise", [(), (b"Welcome", b'{"motd": 1}', b"[1]", b"\xff", b"")])
def test_greeting_sends_the_opening_and_skips_what_a_login_shell_prints(noise):
    stream = Written([*noise, encode(HELLO), b"what follows is the caller's"])
    assert greet(stream, "n1", OPENING) == HELLO
    assert stream.sent == b"first"


def test_a_node_that_lacks_the_bundle_is_sent_it():
    stream = Written([b"Welcome", b'{"event": "unpack"}', encode(HELLO)])
    assert greet(stream, "n1", OPENING) == HELLO
    assert stream.sent == b"firstcode"


@pytest.mark.parametrize("protocol", [1, PROTOCOL + 1, None, str(PROTOCOL)])
def test_a_guard_of_another_protocol_is_refused(protocol):
    with pytest.raises(HostError) as caught:
        greet(Written([encode({**HELLO, "protocol": protocol})]), "n1", OPENING)
    assert caught.value.node == "n1"
    assert caught.value.text == f"the guard on n1 speaks protocol {protocol}, this dplaunch speaks {PROTOCOL}"
    assert "same version of dplaunch" in caught.value.hint


def test_a_session_that_ends_without_a_hello_shows_its_last_lines():
    with pytest.raises(HostError) as caught:
        greet(Written(b"line %d" % number for number in range(9)), "n1", OPENING)
    assert caught.value.text == "n1 printed 9 lines, but the guard's hello was not among them"
    assert caught.value.detail == tuple(f"line {number}" for number in range(4, 9))
    assert "~/.bashrc" in caught.value.hint


def test_a_login_shell_that_never_stops_is_not_read_for_ever():
    with pytest.raises(HostError, match=f"n1 printed {NOISE_LINES} lines"):
        greet(Written(itertools.repeat(b"welcome")), "n1", OPENING)
