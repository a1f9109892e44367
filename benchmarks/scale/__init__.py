"""What is measured for docs/scale.md."""
