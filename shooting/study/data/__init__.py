"""Data of the experiments, generated from seeds; nothing is fetched from a network."""
