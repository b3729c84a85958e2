"""A trained network as files that other programs run, and as a folder that others find."""
