"""Studies: arms x seeds x data, planned, run and compared; planning and watching need no torch."""
