"""HTTP requests against servers that send exactly these bytes."""

import contextlib
import re
import socket
import threading
import time

import pytest
from waiting import until

from dplaunch.node.guard.ask import AT_ONCE, BODY, ask_all
from dplaunch.node.guard.health import ask_health

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def says():
    """``says(bytes)`` → (url, what it was asked): a server for one question that answers so and closes."""
    listeners = []
    gone = threading.Event()

    def start(*pieces: bytes, pause=0.0):
        server = socket.create_server(("127.0.0.1", 0))
        listeners.append(server)
        heard = []

        def serve():
            connection, _ = server.accept()
            with connection:
                heard.append(request(connection))
                with contextlib.suppress(OSError):  # the client has gone
                    for piece in pieces:
                        connection.sendall(piece)
                        gone.wait(pause)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(65536)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}", heard

    yield start
    gone.set()
    for server in listeners:
        server.close()


def request(connection):
    """Head and body of what a client sent."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= int(length[1] if length else 0):
            break
    return data


def ask(url, **fields):
    (answer,) = ask_all([{"url": url, "timeout": 5, **fields}])
    return answer


def get(url, **fields):
    answer = ask(url, **fields)
    assert answer["error"] == ""
    return answer["status"], answer["body"]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"Content-Length: 2\r\n\r\nhi, and what belongs to nobody", "hi"),
        (b"\r\nuntil the end", "until the end"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", "abcde"),
        (b"transfer-encoding:Chunked\r\n\r\n" + b"ff00\r\n" + b"x" * 0xFF00 + b"\r\nfff\r\n" + b"y" * 0xFFF + b"\r\n0\r\n\r\n", None),
        (b"Content-Length: 0\r\n\r\n", ""),
    ],
)  # fmt: skip
def test_a_body_is_as_long_as_its_head_says(says, answer, body):
    url, _ = says(OK + answer)
    status, said = get(url + "/x")
    assert status == 200
    assert said == body if body is not None else len(said) == BODY


def test_an_answer_may_come_in_pieces_and_after_interim_ones(says):
    url, _ = says(
        b"HTTP/1.1 100 Conti", b"nue\r\n\r\nHTTP/1.1 503 Wait\r", b"\nContent-Length: 4\r\n\r\nlo", b"ad"
    )
    assert get(url) == (503, "load")


def test_a_status_without_a_body_waits_for_none(says):
    url, _ = says(b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n")
    assert get(url) == (204, "")


def test_what_is_sent(says):
    url, heard = says(OK + b"\r\n")
    get(url + "?a=b", method="POST", headers={"Authorization": "Bearer k"}, body="{}")
    head, _, body = heard[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    host = url.removeprefix("http://").encode()
    assert lines[0] == b"POST /?a=b HTTP/1.1"
    assert set(lines[1:]) == {
        b"Host: " + host,
        b"Connection: close",
        b"Accept-Encoding: identity",
        b"Authorization: Bearer k",
        b"Content-Length: 2",
    }
    assert body == b"{}"


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH\r\n", b"", OK + b"Content-Length: 9\r\n\r\nshort", OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"],
)  # fmt: skip
def test_what_is_not_a_complete_response_is_an_error(says, answer):
    url, _ = says(answer)
    answer = ask(url)
    assert answer["status"] is None
    assert answer["error"].startswith(f"{url}: not a complete HTTP response")


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "http://", "http://a b/", "http://::1/", "127.0.0.1:80"]
)
def test_only_http_addresses_are_asked(url):
    assert ask(url)["error"] == f"{url}: this is neither an http:// nor a tcp:// nor a redis:// address"


def test_a_tcp_address_is_well_when_it_accepts_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert (ask(url + "/")["status"], ask_health([url + "/"])) == (200, [True])
    refused = ask(url + "/")
    assert (refused["status"], ask_health([url + "/"])) == (None, [False])
    assert "refused" in refused["error"]


@pytest.mark.parametrize(
    "pieces",
    [[OK + b"Content-Length: 100\r\n\r\n", *[b"x"] * 60], [OK, *[b"A: b\r\n"] * 60], [*[b"H"] * 60]],
    ids=["body", "headers", "status line"],
)
def test_a_server_that_drips_is_given_up_in_time(says, pieces):
    url, _ = says(*pieces, pause=0.05)
    began, before = time.monotonic(), threading.active_count()
    assert ask(url, timeout=0.2)["error"] == "no complete response within 0.2 s"
    assert time.monotonic() - began < 1.5
    until(lambda: threading.active_count() <= before - 1, 20)  # neither its server nor the request goes on


def test_a_redirect_is_an_answer_like_any_other(says):
    url, _ = says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    assert get(url) == (302, "")


def test_more_requests_than_threads_wait_for_their_turn_without_losing_time(says):
    silent = [says(b"", pause=20.0)[0] for _ in range(AT_ONCE)]
    quick = [says(OK + b"Content-Length: 0\r\n\r\n")[0] for _ in range(AT_ONCE)]
    began = time.monotonic()
    requests = [{"url": url, "timeout": 0.5} for url in silent] + [
        {"url": url, "timeout": 20} for url in quick
    ]
    answers = ask_all(requests)
    assert [answer["status"] for answer in answers] == [None] * AT_ONCE + [200] * AT_ONCE
    assert 0.5 <= time.monotonic() - began < 15.0


def test_a_host_may_be_a_name_and_an_unknown_name_is_an_error(says):
    url, _ = says(OK + b"Content-Length: 2\r\n\r\nhi")
    assert get(url.replace("127.0.0.1", "localhost")) == (200, "hi")
    (answer,) = ask_all([{"url": "http://no.such.name.invalid/", "timeout": 20}])
    assert answer["status"] is None
    assert "http://no.such.name.invalid/: " in answer["error"]


def test_each_of_many_has_its_own_deadline(says):
    silent, quick = says(b"", pause=20.0)[0], says(OK + b"Content-Length: 0\r\n\r\n")[0]
    refused = {"url": "http://127.0.0.1:9/", "timeout": 20}
    slow, good, none = ask_all([{"url": silent, "timeout": 0.2}, {"url": quick, "timeout": 20}, refused])
    assert (slow["error"], good["status"], none["status"]) == ("no complete response within 0.2 s", 200, None)
    assert "refused" in none["error"]
    assert max(good["seconds"], none["seconds"]) < 10.0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_answer_is_searched_whole_and_only_what_was_wanted_comes_back(says, chunked):
    page = b"a 1\n" + b"x" * 2 * BODY + b"\nb_c 2.0\nab 3\n"
    framed = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(page), page)
    url, _ = says(OK + (framed if chunked else b"\r\n" + page))
    (answer,) = ask_all([{"url": url, "grep": "^(a|b_c) "}])
    assert (answer["status"], answer["body"]) == (200, "a 1\nb_c 2.0")
