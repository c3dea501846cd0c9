"""Pixels, boxes and scores as plain arrays: what every other room computes with.

- `boxes`: box formats, overlap, unusable boxes
- `masks`: boxes as the masks that the UNet learns
- `scope`: the labelled rectangles of partially labelled images
- `images`, `image_store`: image files as arrays; training images in memory
- `scale`: the factor by which large images are reduced
- `illumination`: the light of an image, subtracted
- `image_statistics`, `texture`: an image as a vector without any network
- `heatmap`: the unseen score as a picture, alone or over its image
- `quantiles`, `auroc`: statistics of more scores than fit into memory
- `bootstrap`, `paired_bootstrap`: confidence intervals
- `devices`: CPU or GPU, precision, random numbers of torch
"""
