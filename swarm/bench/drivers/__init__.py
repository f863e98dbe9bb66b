"""Engines that are libraries, made into programs: each of these is started as a process of its own."""
