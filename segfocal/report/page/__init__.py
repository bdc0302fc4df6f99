"""The static report: one folder that opens from disk without a network."""
