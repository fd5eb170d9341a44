import subprocess
import threading

import pytest

from dplaunch.transport.knownhosts import Verdict, append, check, hashed_name, kinds, names, parse, read

KEY, OTHER = "AAAAkey", "AAAAother"


def verdict(text, called=("h1",), key=KEY):
    return check(parse(text, "known"), called, key)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"h1 ssh-ed25519 {KEY}", Verdict.KNOWN),
        (f"h1,10.0.0.1 ssh-ed25519 {KEY} comment words", Verdict.KNOWN),
        (f"H1 ssh-ed25519 {KEY}", Verdict.KNOWN),
        (f"h? ssh-ed25519 {KEY}", Verdict.KNOWN),
        (f"*,!h1 ssh-ed25519 {KEY}", Verdict.UNKNOWN),
        (f"h2 ssh-ed25519 {KEY}", Verdict.UNKNOWN),
        (f"# h1 ssh-ed25519 {KEY}", Verdict.UNKNOWN),
        ("", Verdict.UNKNOWN),
        (f"h1 ssh-ed25519 {OTHER}", Verdict.CHANGED),
        (f"h1 ssh-dss {OTHER}", Verdict.CHANGED),
        ("h1 ssh-ed25519", Verdict.CHANGED),
        (f"h1 ssh-ed25519 {OTHER}\nh1 ssh-rsa {KEY}", Verdict.KNOWN),
        (f"h1 ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {KEY}", Verdict.REVOKED),
        (f"@revoked h1 ssh-ed25519 {OTHER}\nh1 ssh-ed25519 {KEY}", Verdict.KNOWN),
        (f"@cert-authority *,!x ssh-ed25519 {OTHER}\nh1 ssh-ed25519 {KEY}", Verdict.AUTHORITY),
        (f"@cert-authority other ssh-ed25519 {OTHER}\nh1 ssh-ed25519 {KEY}", Verdict.KNOWN),
    ],
)
def test_verdicts(line, expected):
    assert verdict(line)[0] is expected


def test_the_place_names_file_and_line():
    assert verdict(f"# comment\n\nh1 ssh-ed25519 {OTHER}") == (Verdict.CHANGED, "known:3")


def test_hashed_names_are_found_and_hide_the_name():
    line = f"{hashed_name('h1')} ssh-ed25519 {KEY}"
    assert "h1" not in line
    assert (verdict(line)[0], verdict(line, ("h2",))[0]) == (Verdict.KNOWN, Verdict.UNKNOWN)


def test_ssh_keygen_reads_our_hashed_names(tmp_path):
    file, host = tmp_path / "known", "[127.0.1.9]:2222"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True)
    kind, key, *_ = (tmp_path / "k.pub").read_text().split()
    append(str(file), host, kind, key, hashed=True)
    found = subprocess.run(["ssh-keygen", "-F", host, "-f", file], capture_output=True, text=True, check=True)
    assert key in found.stdout


def test_names_carry_the_port_and_an_alias_wins():
    assert names("h1", 22) == ("h1",)
    assert names("h1", 2222) == ("[h1]:2222", "h1")
    assert names("h1", 2222, "alias") == ("alias",)


def test_with_a_port_the_plain_name_may_vouch_but_not_accuse():
    called = names("h1", 2222)
    assert verdict(f"h1 ssh-ed25519 {KEY}", called)[0] is Verdict.KNOWN
    assert verdict(f"h1 ssh-ed25519 {OTHER}", called)[0] is Verdict.UNKNOWN
    assert verdict(f"[h1]:2222 ssh-ed25519 {OTHER}", called)[0] is Verdict.CHANGED


def test_kinds_known_for_a_host_are_asked_for_first():
    lines = parse(f"h1 ssh-rsa {KEY}\nh2 ssh-ed25519 {KEY}\nh1 ecdsa-sha2-nistp256 {KEY}", "known")
    assert kinds(lines, ("h1",)) == ("ssh-rsa", "ecdsa-sha2-nistp256")


def test_append_from_many_threads_keeps_every_line_whole_and_once(tmp_path):
    file = tmp_path / "new" / "known_hosts"
    hosts = [f"h{n % 20}" for n in range(60)]
    threads = [threading.Thread(target=append, args=(str(file), h, "ssh-ed25519", KEY)) for h in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(file.read_text().splitlines()) == sorted(f"{h} ssh-ed25519 {KEY}" for h in set(hosts))


def test_append_mends_a_last_line_without_its_end(tmp_path):
    (tmp_path / "known").write_text(f"h1 ssh-ed25519 {KEY}")
    append(str(tmp_path / "known"), "h2", "ssh-ed25519", KEY)
    assert len(read([str(tmp_path / "known")])) == 2


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    assert read([str(tmp_path), str(tmp_path / "none")]) == ()


@pytest.mark.parametrize("broken", ["|1|", "|1|abc", "|1|abc|", "|1|!!|??", "|1|a|b|c", "|1|YQ==|" + "é"])
def test_a_broken_hashed_name_is_left_out(broken):
    lines = parse(f"{broken} ssh-ed25519 AAAA\n{broken}\nh1 ssh-ed25519 BBBB\n", "kh")
    assert check(lines, ("h1",), "BBBB") == (Verdict.KNOWN, "kh:3")
    assert check(lines, ("h2",), "AAAA") == (Verdict.UNKNOWN, "")
