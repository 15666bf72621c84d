"""Which addresses a worker calls, held against a local https server under public names."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.worker.fetch import Network, Refused, call, fetch, is_public
from tests.worker.public_web import HOST, PUBLIC, Net


def get(net: Net, path: str, limit: int = 4000, timeout: float = 600) -> bytes:
    return fetch(f"https://{HOST}/{path}", limit=limit, timeout=timeout, network=net.network())


def test_what_is_public_is_fetched_from_the_checked_address(net: Net) -> None:
    assert get(net, "ok") == b">a\nMKTAYIAK\n"
    assert get(net, "unsized") == b">a\nMKTAYIAK\n"
    assert get(net, "host") == HOST.encode()
    assert set(net.connected) == {PUBLIC}


def test_redirects_are_followed_by_the_same_rules(net: Net) -> None:
    assert get(net, "redirect/https%3A%2F%2Fother.example.org%2Fok").startswith(b">a")
    assert net.connected == [PUBLIC, "1.1.1.1"]
    assert get(net, "redirect/%2Fok").startswith(b">a")
    net.names["inside.example.org"] = [["10.0.0.7"]]
    for target in (
        "https%3A%2F%2Finside.example.org%2F",
        "http%3A%2F%2Fother.example.org%2Fok",
        "file%3A%2F%2F%2Fetc%2Fpasswd",
    ):
        net.connected.clear()
        with pytest.raises(Refused):
            get(net, f"redirect/{target}")
        assert net.connected == [PUBLIC]
    with pytest.raises(Refused, match="more than 5 times"):
        get(
            net,
            "redirect/%2Fredirect%2F%252Fredirect%252F%25252Fredirect%25252F%2525252Fredirect%2525252F%252525252Fredirect%252525252F%25252525252Fok",
        )


def test_a_name_that_changes_its_address_gains_nothing(net: Net) -> None:
    net.names[HOST] = [[PUBLIC], ["127.0.0.1"]]
    assert get(net, "ok").startswith(b">a")
    assert net.connected == [PUBLIC]
    with pytest.raises(Refused, match="private or reserved"):
        get(net, "ok")
    net.names[HOST] = [[PUBLIC, "169.254.169.254"]]
    with pytest.raises(Refused, match="private or reserved"):
        get(net, "ok")
    assert net.connected == [PUBLIC]


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/ok",
        f"ftp://{HOST}/ok",
        "file:///etc/passwd",
        f"https://user:secret@{HOST}/ok",
        "https://",
        f"https://{HOST}:99999/ok",
        f"https://{HOST}/a b\n",
        "https://[::1/",
        "gopher://x",
        "",
    ],
)
def test_other_addresses_are_refused(net: Net, url: str) -> None:
    with pytest.raises(Refused) as caught:
        fetch(url, limit=100, timeout=600, network=net.network())
    assert "secret" not in str(caught.value)
    assert net.connected == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",  # noqa: S104 (not bound)
        "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1",
        "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe", "192.0.0.1", "192.0.0.9", "192.0.0.192", "192.31.196.1",
        "192.52.193.1", "192.88.99.1", "192.175.48.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
        "239.255.255.255", "255.255.255.254", "100.127.255.255", "172.31.255.255", "fec0::1", "feff::1",
        "64:ff9b:1::1", "64:ff9b::c000:c0", "100::1", "100:0:0:1::1", "2001::1", "2001:2::1", "2001:10::1",
        "2001:20::1", "2001:30::1", "2001:1ff:ffff::1", "2620:4f:8000::1", "3fff::1", "5f00::1",
        "2002:5db8:d70e::1", "::ffff:192.0.0.192", "::5db8:d70e", "4000::1", "2606:4700:4700::1111%eth0",
        "localhost", "", "2130706433", "0x7f.1",
    ],
)  # fmt: skip
def test_addresses_inside_are_not_public(address: str, net: Net) -> None:
    assert not is_public(address)
    net.names[HOST] = [[address]]
    with pytest.raises(Refused):
        get(net, "ok")
    assert net.connected == []


@given(
    st.ip_addresses(network="10.0.0.0/8")
    | st.ip_addresses(network="fc00::/7")
    | st.ip_addresses(network="127.0.0.0/8")
)
def test_private_networks_are_private_in_every_form(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert not is_public(str(address))
    if isinstance(address, ipaddress.IPv4Address):
        assert not is_public(f"::ffff:{address}")
        assert not is_public(str(ipaddress.IPv6Address((0x64FF9B << 96) | int(address))))
        assert not is_public(str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80))))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", PUBLIC, "2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "2001:4860:4860::8888",
        "::ffff:1.1.1.1", "64:ff9b::101:101", "192.0.1.1", "100.128.0.1", "172.32.0.1", "198.20.0.1",
        "223.255.255.1",
    ],
)  # fmt: skip
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_literal_addresses_are_checked_too() -> None:
    for host in (
        "127.0.0.1",
        "[::1]",
        "2130706433",
        "0x7f000001",
        "localhost",
        "[::ffff:127.0.0.1]",
        "127.1",
    ):
        with pytest.raises(Refused):
            fetch(f"https://{host}/", limit=100, timeout=600)


def test_size_and_time_have_limits(net: Net) -> None:
    with pytest.raises(Refused, match="more than 4000 bytes"):
        get(net, "big")
    with pytest.raises(TimeoutError):
        get(net, "slow", timeout=0.5)
    # One byte at a time, each in time: the whole is what has the limit.
    with pytest.raises(TimeoutError):
        get(net, "drip", timeout=0.8)
    with pytest.raises(Refused, match="status 404"):
        get(net, "missing")
    with pytest.raises(Refused, match="cannot be fetched"):
        get(net, "cut")


@pytest.mark.parametrize("kind", ["drip-status", "drip-header", "drip-body"])
def test_a_deadline_holds_for_the_whole_exchange(net: Net, kind: str) -> None:
    """Every byte comes in time, and the whole never does: the server sees that nobody waits for the rest."""
    net.left.clear()
    with pytest.raises(TimeoutError):
        get(net, kind, timeout=0.4)
    assert net.left.wait(600)


def test_a_deadline_holds_for_all_redirects_together(net: Net) -> None:
    with pytest.raises(TimeoutError):
        get(net, "around", timeout=0.4)


def test_a_deadline_holds_for_the_handshake_and_for_names(net: Net) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        network = Network(
            resolve=lambda *_: [PUBLIC],
            connect=lambda *_: socket.create_connection(silent.getsockname()),
            context=net.context,
        )
        with pytest.raises(TimeoutError):
            fetch(f"https://{HOST}/ok", limit=100, timeout=0.2, network=network)
    never = threading.Event()
    waiting = Network(resolve=lambda *_: [PUBLIC] if never.wait(60) else [], connect=network.connect)
    with pytest.raises(TimeoutError):
        fetch(f"https://{HOST}/ok", limit=100, timeout=0.2, network=waiting)
    never.set()


def test_a_wrong_certificate_is_no_answer(net: Net) -> None:
    net.names["wrong.example.org"] = [[PUBLIC]]
    with pytest.raises(Refused, match="SSLCertVerificationError"):
        fetch("https://wrong.example.org/ok", limit=100, timeout=600, network=net.network())


def test_trust_is_for_the_host_named_only(net: Net) -> None:
    net.names["s3.lab"] = [["10.0.0.5"]]
    trusting = net.network(frozenset({"s3.lab:9000"}))
    deadline = time.monotonic() + 600
    # Trusted: plain http to a private address is tried (the server here speaks TLS only).
    with pytest.raises(Exception) as caught:
        call("GET", "http://s3.lab:9000/x", limit=10, deadline=deadline, network=trusting)
    assert not isinstance(caught.value, Refused)
    assert net.connected == ["10.0.0.5"]
    for url in ("http://s3.lab:9001/x", "https://s3.lab/x"):
        with pytest.raises(Refused):
            call("GET", url, limit=10, deadline=deadline, network=trusting)
