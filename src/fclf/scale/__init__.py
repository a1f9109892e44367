"""Work on more rows than one process, one machine or one run can do."""
