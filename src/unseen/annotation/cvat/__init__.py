"""CVAT through FiftyOne's annotation API, with checks before, care during and merging after."""
