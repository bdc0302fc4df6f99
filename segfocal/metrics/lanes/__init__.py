"""The official lane scores of TuSimple and CULane, from files or points; numpy and OpenCV only."""

from segfocal.metrics.lanes.culane import CULaneCounts, lane_iou, match_lanes
from segfocal.metrics.lanes.tusimple import FrameScore, score_frame

__all__ = ["CULaneCounts", "lane_iou", "match_lanes", "FrameScore", "score_frame"]
