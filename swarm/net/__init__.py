"""Sockets and asyncio: turns bytes into calls and back, and decides nothing."""
