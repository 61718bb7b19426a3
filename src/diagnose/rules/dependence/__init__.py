"""Rules about what an output depends on, from probes."""
