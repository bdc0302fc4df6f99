"""The live report: the views of the static one, served to a browser on this machine."""
