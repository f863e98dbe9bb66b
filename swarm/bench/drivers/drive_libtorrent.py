"""libtorrent as a process: seeds or fetches one torrent until SIGTERM, in one session for each address.

usage: drive_libtorrent.py seed|leech TORRENT PRESET SETTINGS(JSON) ADDRESS:PORT=FOLDER...

`torrent` among the settings are fields of the torrent's `add_torrent_params`.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import libtorrent as lt


def start(role: str, torrent: str, settings: Any, where: str) -> tuple[Any, Any]:
    """A session that listens there, and the torrent in it."""
    at, _, folder = where.partition("=")
    own = settings.pop("torrent", {})
    category = lt.alert.category_t
    session = lt.session(
        settings
        | {
            "listen_interfaces": at,
            "outgoing_interfaces": at.rpartition(":")[0],
            "alert_mask": category.error_notification | category.status_notification,
        }
    )
    everybody = lt.ip_filter()  # as it comes, no rate limit holds for peers of a local network
    everybody.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
    session.set_peer_class_filter(everybody)
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if role == "seed":
        params.flags |= lt.torrent_flags.seed_mode
    for name, value in own.items():
        setattr(params, name, value)
    return session, session.add_torrent(params)


def main(role: str, torrent: str, preset: str, settings: str, *where: str) -> None:
    """Runs until SIGTERM or SIGINT, then closes the sessions (which writes what is buffered)."""
    chosen = dict(getattr(lt, preset)()) | json.loads(settings)
    started = [start(role, torrent, dict(chosen), each) for each in where]
    leaving: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _: leaving.append(signum))
    while not leaving:
        for session, _ in started:
            session.wait_for_alert(200 // len(started))
            for alert in session.pop_alerts():
                print(alert.what(), alert.message(), flush=True)
    for session, handle in started:
        handle.flush_cache()
        session.pause()
        session.remove_torrent(handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
