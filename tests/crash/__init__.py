"""Kills downloads and cuts the power under them, and holds what they claim against what is there."""
