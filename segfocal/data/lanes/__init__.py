"""Lanes given as points: the official files of TuSimple and CULane."""
