"""How fast fclf is, against the reference's loops and against what the machine can do: `python -m benchmarks.speed`."""
