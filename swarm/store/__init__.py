"""The disk: slots, hashing, files and resume data. Decides nothing."""
