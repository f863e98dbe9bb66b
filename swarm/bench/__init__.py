"""Whole clients measured side by side, from outside: hosts on a network of their own, a tracker, and an adapter
for each client. `swarm bench` shows what it finds; nothing else of swarm imports it.
"""
