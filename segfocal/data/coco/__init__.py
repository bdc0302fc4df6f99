"""Instances in COCO's annotation files, drawn into masks of classes."""
