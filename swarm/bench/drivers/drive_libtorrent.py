"""libtorrent as a process: seeds or fetches one torrent until SIGTERM.

usage: drive_libtorrent.py seed|leech TORRENT FOLDER ADDRESS PORT
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import libtorrent as lt

MIB = 1024 * 1024


def settings(seed: bool, address: str, port: int) -> Any:
    """What makes it fastest on two cores: TCP only, deep queues, two threads per kind of work."""
    chosen = dict(lt.high_performance_seed()) if seed else {}
    chosen |= {
        "listen_interfaces": f"{address}:{port}",
        "outgoing_interfaces": address,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "max_out_request_queue": 2000,
        "send_buffer_watermark": 3 * MIB,
        "send_buffer_watermark_factor": 150,
        "aio_threads": 2,
        "hashing_threads": 2,
        "mixed_mode_algorithm": 0,
        "allow_multiple_connections_per_ip": True,
        "min_announce_interval": 5,
        "ssrf_mitigation": False,
        "alert_mask": lt.alert.category_t.error_notification
        | lt.alert.category_t.status_notification,
    }
    return chosen


def main(role: str, torrent: str, folder: str, address: str, port: str) -> None:
    """Runs until SIGTERM or SIGINT, then closes the session (which writes what is buffered)."""
    seed = role == "seed"
    session = lt.session(settings(seed, address, int(port)))
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if seed:
        params.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(params)
    leaving: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _: leaving.append(signum))
    while not leaving:
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            print(alert.what(), alert.message(), flush=True)
    handle.flush_cache()
    session.pause()
    session.remove_torrent(handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
