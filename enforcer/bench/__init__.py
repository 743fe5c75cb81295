"""
The benchmarks behind ``enforcer bench``: always beside a baseline of the same run.

``stream``: events a second of one worker process beside a raw echo's. ``latency``: open loop through the client,
beside the same through an echo. ``evaluation``: the engine alone, step by step. Method: docs/performance.md.
"""
