"""Every number a user may turn, with its default and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from .errors import ConfigError

KIB = 1024
MIB = 1024 * KIB

Direct = Literal["auto", "always", "never"]
"""When pieces are written past the page cache."""
Allocation = Literal["none", "sparse", "full"]
"""How much of the disk a file is given before it is written."""

DHT_BOOTSTRAP = (
    "dht.libtorrent.org:25401",
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "router.utorrent.com:6881",
)
"""Where everybody's nodes begin, who know no others yet."""


def host_and_port(text: str) -> tuple[str, int]:
    """Reads "HOST:PORT", an IPv6 address in brackets. Raises `ConfigError`."""
    host, colon, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or not 0 < number < 65536 or (":" in host) != bracketed:
        raise ConfigError(f"not HOST:PORT: {text!r}")
    return host, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits and time-outs of one session. Sizes in bytes, times in seconds.

    Raises `ConfigError` when a value is outside of its range.
    """

    memory: int = 32 * MIB
    """Slots being filled by downloads. Above this no new piece is assigned, and TCP slows the senders."""
    read_memory: int = 16 * MIB
    """Slots being uploaded from. Above this, reads wait their turn."""
    threads: int = 2
    """Threads that hash, read and write. They never hold the GIL."""
    direct: Direct = "auto"
    """Write pieces past the page cache: "auto" where the file system says that it can and the stretch is
    192 KiB or more, which costs half the CPU and leaves other programs their cache; "always" wherever
    it works at all; "never"."""
    allocation: Allocation = "sparse"
    """"none": files grow as they are written. "sparse": they have their full length from the first write
    on, and take as much of the disk as was written. "full": the disk is theirs before anything is
    fetched, which is an error where the file system cannot do that."""
    receive_buffer: int = 512 * KIB
    """The one receive buffer that all peers of a session share."""
    download_limit: int | None = None
    """Payload in bytes/s that all torrents together may download; None is no limit. What is not requested
    does not come, so a limit holds to a block of 16 KiB: under 160 KiB/s some seconds have one more."""
    upload_limit: int | None = None
    """Payload in bytes/s that all torrents together may upload; None is no limit."""
    max_peers: int = 500
    """Connected peers of the whole session."""
    max_peers_per_torrent: int = 200
    max_half_open: int = 32
    """Dials under way at once."""
    max_pending_inbound: int = 500
    """Accepted connections that have not yet finished their handshake."""
    upload_slots: int = 8
    """Peers unchoked at once, one of them optimistically (BEP 3). More where the line is fast: see below."""
    slot_rate: int | None = 256 * KIB
    """Bytes/s that an unchoked peer should get: as many are unchoked as what is uploaded serves so well, and
    `upload_slots` in any case. None: never more than those."""
    request_queue: int = 2000
    """`reqq`: requests we accept from one peer (BEP 10), and the most we send to one."""
    queue_time: float = 0.5
    """Seconds of a peer's rate that are kept requested ahead, beyond what its round trip takes."""
    connect_timeout: float = 10.0
    handshake_timeout: float = 10.0
    """From the connection to the end of the handshake, whatever trickles in."""
    snub_timeout: float = 20.0
    """A peer that owes us blocks and sends none for this long is snubbed: others may fetch them."""
    keepalive_interval: float = 110.0
    """BEP 3 lets peers drop a connection that was silent for two minutes."""
    idle_timeout: float = 240.0
    """A peer that sent nothing at all for this long is dropped."""
    stall_timeout: float = 100.0
    """A peer that takes too little of what it asked for is dropped after this long."""
    stop_timeout: float = 3.0
    """The longest that leaving a session may take."""
    resume_interval: float = 10.0
    """How often progress is made durable and claimed in the resume file."""
    dht: bool = True
    """Find peers of public torrents in the DHT (BEP 5). The environment's SWARM_NO_DHT turns it off, too."""
    dht_bootstrap: tuple[str, ...] = DHT_BOOTSTRAP
    """"HOST:PORT" of nodes to ask as long as hardly any are known, IPv6 addresses in brackets."""
    dht_read_only: bool = False
    """Ask the DHT and answer nobody, as behind a firewall or on a metered line (BEP 43)."""
    part_names: bool = True
    """A file is called NAME.part until it is complete."""

    def __post_init__(self) -> None:
        if isinstance(self.dht_bootstrap, str):
            raise ConfigError(f"a list of hosts is needed, as [{self.dht_bootstrap!r}]")
        for host in self.dht_bootstrap:
            host_and_port(host)
        check_limit(self.download_limit, self.upload_limit)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value is not False and not value > 0:
                raise ConfigError(f"{field.name} must be above zero, not {value!r}")
        for name, choices in (("direct", get_args(Direct)), ("allocation", get_args(Allocation))):
            if (value := getattr(self, name)) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        if self.receive_buffer < 64 * KIB:
            raise ConfigError("receive_buffer must be at least 64 KiB")


def check_limit(*rates: int | None) -> None:
    """Raises `ConfigError` unless each is a number of bytes/s, or None for no limit."""
    for rate in rates:
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or rate < 1):
            raise ConfigError(f"a limit is a number of bytes/s above zero, or None, not {rate!r}")
