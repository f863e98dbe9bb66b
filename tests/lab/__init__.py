"""What the tests with whole clients add to `swarm.bench`: hard samples, foreign torrents, a stage."""
