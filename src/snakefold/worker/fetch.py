"""HTTP without trust: which addresses may be called, and bodies of limited size.

An address is resolved once, every address behind the name is checked, and the connection goes to a checked
one: a name that resolves to something else a moment later (DNS rebinding) gains nothing. Redirects are
followed by the same rules.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from snakefold.worker.endpoints.checked import InvalidInput

_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared address space (carrier-grade NAT)
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link local; metadata of clouds
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # IETF protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "192.168.0.0/16",  # private use
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved; broadcast
        ),
    )
)
#: Everything else in IPv6 is loopback, link or site local, unique local, multicast, mapped, or not assigned.
_V6_UNICAST = ipaddress.IPv6Network("2000::/3")
_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID, drone identifiers
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
#: Forms that lead to the IPv4 address in their last four bytes: mapped, and NAT64.
_V4_INSIDE = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's: not private, loopback, link-local, reserved or such."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _V4)
    if ip.scope_id is not None:  # of one link of this machine
        return False
    if any(ip in network for network in _V4_INSIDE):
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip in _V6_UNICAST and not any(ip in network for network in _V6)


_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_BLOCK = 1 << 16
_TOO_LONG = "The transfer took too long."
_PORTS = {"https": 443, "http": 80}


def _resolve(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _connect(address: str, port: int, timeout: float) -> socket.socket:
    return socket.create_connection((address, port), timeout)


@dataclass(frozen=True)
class Network:
    """What calls go through.

    Attributes:
        trusted: `host` or `host:port` that may be private and plain http.
        resolve: addresses of a name.
        connect: a connection to an address.
        context: TLS.
    """

    trusted: frozenset[str] = frozenset()
    resolve: Callable[[str, int], Sequence[str]] = _resolve
    connect: Callable[[str, int, float], socket.socket] = _connect
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)


class Refused(InvalidInput):
    """An address that is not called."""


@dataclass(frozen=True)
class Answer:
    """What a server answered; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def fetch(url: str, *, limit: int, timeout: float, network: Network | None = None) -> bytes:
    """GET an address, https only, redirects followed.

    Args:
        limit: bytes of the body at the most.
        timeout: seconds for everything.

    Raises:
        Refused: the address, or one it leads to, may not be called; there is no answer, or it is no success
            or too large.
        TimeoutError: it took too long.
    """
    network = network or Network()
    deadline = time.monotonic() + timeout
    for _ in range(_MOST_REDIRECTS + 1):
        try:
            answer = call("GET", url, limit=limit, deadline=deadline, network=network)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"{shown(url)}: cannot be fetched ({type(error).__name__}).") from error
        if answer.status not in _REDIRECTS:
            break
        url = urljoin(url, answer.headers.get("location", ""))
    else:
        raise Refused(f"{shown(url)}: redirects more than {_MOST_REDIRECTS} times.")
    if answer.status != http.client.OK:
        raise Refused(f"{shown(url)}: answered with status {answer.status}.")
    return answer.body


def call(
    method: str,
    url: str,
    *,
    limit: int,
    deadline: float,
    network: Network,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request to one checked address, no redirects. `deadline` is one of time.monotonic().

    Raises:
        Refused, TimeoutError: see `fetch`. OSError, http.client.HTTPException: no answer.
    """
    parts = checked_address(url, network.trusted)
    port = parts.port or _PORTS[parts.scheme]
    host = str(parts.hostname)
    address = _address(parts, host, port, network, deadline)
    connection = _Pinned(host, port, timeout=_left(deadline))
    with ExitStack() as stack:
        # http.client lets go of the socket once an answer ends with the connection; timeouts still need it.
        sock = stack.enter_context(closing(network.connect(address, port, _left(deadline))))
        if parts.scheme == "https":
            sock = network.context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            stack.enter_context(closing(sock))
        stack.enter_context(closing(connection))
        # A timeout of a socket is for one wait; a server that drips has thousands of them.
        stack.enter_context(_cut_off(sock, deadline))
        sock.settimeout(_left(deadline))
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection.sock = sock
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, {"Host": _host_header(parts), **(headers or {})})
        sock.settimeout(_left(deadline))
        answer = connection.getresponse()
        content = _body(answer, sock, limit, deadline, url)
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, content)


@contextmanager
def _cut_off(sock: socket.socket, deadline: float) -> Iterator[None]:
    """End a connection at the deadline, whatever is waited for then.

    Raises:
        TimeoutError: it came to that.
    """
    over = threading.Event()

    def cut() -> None:
        over.set()
        with suppress(OSError):
            # Not the method of a TLS socket, which another thread is using.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(_left(deadline), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    # Also where the end of the connection looked like the end of a body.
    if over.is_set():
        raise TimeoutError(_TOO_LONG)


class _Pinned(http.client.HTTPConnection):
    """Never connects by itself, which would resolve the name again."""

    def connect(self) -> None:
        raise ConnectionError("the connection was lost")


def shown(url: str) -> str:
    """An address as it may be told: its host."""
    try:
        return urlsplit(url).hostname or "the address"
    except ValueError:
        return "the address"


def checked_address(url: str, trusted: frozenset[str]) -> SplitResult:
    """The parts of an address that may be called, as far as that is known without looking its name up.

    Args:
        trusted: see `Network`.

    Raises:
        Refused: it may not be called.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused("An address cannot be read.") from error
    if not parts.hostname or parts.username is not None or not url.isascii() or not url.isprintable():
        raise Refused("An address cannot be read, or has a user in it.")
    known = _is_trusted(parts.hostname, port, trusted)
    if parts.scheme != "https" and not (known and parts.scheme == "http"):
        raise Refused(f"{shown(url)}: only https addresses are called.")
    if not known and _is_number(parts.hostname) and not is_public(parts.hostname):
        raise _private(parts.hostname)
    return parts


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _private(host: str) -> Refused:
    return Refused(f"{host}: leads to a private or reserved address, which is not called.")


def _is_trusted(host: str, port: int | None, trusted: frozenset[str]) -> bool:
    return bool({host.lower(), f"{host.lower()}:{port}"} & trusted)


def _address(parts: SplitResult, host: str, port: int, network: Network, deadline: float) -> str:
    try:
        addresses = _resolved(host, port, network, deadline)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        raise Refused(f"{host}: this name has no address.") from error
    if not addresses:
        raise Refused(f"{host}: this name has no address.")
    # One private address among public ones is what rebinding looks like.
    if not _is_trusted(host, parts.port, network.trusted) and not all(map(is_public, addresses)):
        raise _private(host)
    return addresses[0]


def _resolved(host: str, port: int, network: Network, deadline: float) -> list[str]:
    """Addresses of a name. The system's resolver knows no deadline: it is left alone when ours is over."""
    found: Future[list[str]] = Future()

    def look() -> None:
        try:
            found.set_result(list(network.resolve(host, port)))
        except Exception as error:  # told where it is waited for
            found.set_exception(error)

    threading.Thread(target=look, daemon=True).start()
    try:
        return found.result(_left(deadline))
    except TimeoutError:
        raise TimeoutError(_TOO_LONG) from None


def _host_header(parts: SplitResult) -> str:
    name = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
    return f"{name}:{parts.port}" if parts.port else name


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(_TOO_LONG)
    return left


def _body(
    answer: http.client.HTTPResponse, connection: socket.socket, limit: int, deadline: float, url: str
) -> bytes:
    blocks: list[bytes] = []
    size = 0
    while True:
        connection.settimeout(_left(deadline))
        block = answer.read1(_BLOCK)
        if not block:
            break
        size += len(block)
        if size > limit:
            raise Refused(f"{shown(url)}: has more than {limit} bytes.")
        blocks.append(block)
    expected = answer.headers.get("content-length")
    if answer.length not in (None, 0) and expected:
        raise ConnectionError(f"{shown(url)}: was cut short.")
    return b"".join(blocks)
