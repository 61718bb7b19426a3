"""The scenario bank of `benchmarks/gap.py`: situations whose right advice was found by following every advice."""
