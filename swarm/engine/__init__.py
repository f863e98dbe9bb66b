"""Decisions. Pure: events and `now` go in, commands come out; no asyncio, sockets, files or clock."""
