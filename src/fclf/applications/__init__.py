"""What trained edits are used for: searching with other attributes, auditing a classifier, filling rare groups."""
