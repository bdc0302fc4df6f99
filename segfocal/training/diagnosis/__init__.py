"""Whether focusing is likely to help a network on its validation images: gather, share out, judge, print."""
