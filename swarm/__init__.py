"""swarm: a BitTorrent engine and client for Python people."""
