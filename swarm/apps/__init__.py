"""The programs people start. They use only the public names of `swarm`."""
