"""What annotators did, as plain data: shapes -> boxes, their merge with ours, the task guide.

Knows neither FiftyOne nor a server. Boxes are relative `[x, y, width, height]` as shares of the
image, like FiftyOne's.
"""
