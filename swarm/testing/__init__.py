"""Whole swarms in virtual time: a clock, links and a store without threads, for tests of any program."""
