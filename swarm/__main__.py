"""`python -m swarm` is the `swarm` program."""

from .apps.cli import main

if __name__ == "__main__":
    main()
