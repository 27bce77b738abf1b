"""Data of the experiments, generated from seeds; only `fetch` asks a network, when called."""
