"""Stand-ins of published data sets: a few tiny files each, in the names and folders that they unpack to."""
