"""HTTP/1.1 towards engines: bytes in, bytes out, however the network cuts them."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplaunch.router import http1
from dplaunch.router.http1 import BadAnswerError, Chunked, Sized

HEAD = b"HTTP/1.1 200 OK\r\ndate: x\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\ntransfer-encoding: chunked"


def chunked(pieces):
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=8))
def test_chunks_come_out_the_same_wherever_the_network_cuts_them(pieces, cuts):
    raw = chunked(pieces)
    edges = sorted({0, len(raw), *(min(cut, len(raw)) for cut in cuts)})
    body = Chunked()
    parts = []
    for start, end in itertools.pairwise(edges):
        assert not body.done
        parts.append(body.feed(raw[start:end]))
    assert b"".join(parts) == b"".join(pieces)
    assert body.done
    assert body.closed()


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_a_payload_that_looks_like_framing_is_none(payload):
    hostile = b"0\r\n\r\n" + payload + b"\r\n0\r\n\r\n"
    body = Chunked()
    assert body.feed(chunked([hostile])) == hostile
    assert body.done


@pytest.mark.parametrize(
    "raw",
    [
        b"x\r\n",
        b"-2\r\nab\r\n",
        b"2\r\nabXX",
        b"0\r\nmore: trailers\r\n\r\n",
        b"0\r\n\r\nHTTP/1.1",
        b"1" * 80,
    ],
)
def test_broken_chunks_are_refused(raw):
    with pytest.raises(BadAnswerError):
        Chunked().feed(raw)


def test_a_size_may_have_an_extension():
    assert Chunked().feed(b"2;x=y\r\nab\r\n0\r\n\r\n") == b"ab"


def test_a_body_of_known_length_ends_there():
    body = Sized(5)
    assert (body.feed(b"abc"), body.done, body.closed()) == (b"abc", False, False)
    assert (body.feed(b"de"), body.done, body.closed()) == (b"de", True, True)
    with pytest.raises(BadAnswerError):
        body.feed(b"f")


def test_a_body_of_unknown_length_ends_with_the_connection():
    body = Sized(None)
    assert (body.feed(b"abc"), body.done) == (b"abc", False)
    assert body.closed()
    assert body.done


def test_a_head_is_read():
    head = http1.head(HEAD)
    assert (head.status, head.kind, head.length, head.stays_open) == (200, "text/event-stream", None, True)
    closing = http1.head(b"HTTP/1.1 404 Not Found\r\nConnection: Close\r\nContent-Length: 3")
    assert (closing.status, closing.kind, closing.length, closing.stays_open) == (404, "", 3, False)
    assert http1.head(b"HTTP/1.1 204 ").length is None


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.0 200 OK", b"HTTP/1.1 OK", b"SSH-2.0-OpenSSH", b"HTTP/1.1 100 Continue"]
)
def test_what_is_no_answer_is_refused(raw):
    with pytest.raises(BadAnswerError):
        http1.head(raw)


def test_how_a_body_is_framed():
    assert isinstance(http1.framing("POST", http1.head(HEAD)), Chunked)
    assert http1.framing("HEAD", http1.head(HEAD)).done
    assert http1.framing("GET", http1.head(b"HTTP/1.1 204 No Content")).done
    assert http1.framing("GET", http1.head(b"HTTP/1.1 200 OK\r\ncontent-length: 0")).done
    assert not http1.framing("GET", http1.head(b"HTTP/1.1 200 OK")).done
    for odd in (b"content-length: -1", b"content-length: 1x", b"transfer-encoding: gzip, chunked"):
        with pytest.raises(BadAnswerError):
            http1.framing("GET", http1.head(b"HTTP/1.1 200 OK\r\n" + odd))


def test_a_request_is_written():
    def written(*request: object):
        return b"".join(http1.request(*request))

    assert written("GET", "/health", {"Host": "a:1"}, b"") == b"GET /health HTTP/1.1\r\nHost: a:1\r\n\r\n"
    raw = written("POST", "/v1/x?a=%2F", {"Host": "a:1", "X": "é"}, b"{}")
    assert raw == "POST /v1/x?a=%2F HTTP/1.1\r\nHost: a:1\r\nX: é\r\nContent-Length: 2\r\n\r\n{}".encode()
    assert written("POST", "/", {}, b"").endswith(b"Content-Length: 0\r\n\r\n")
