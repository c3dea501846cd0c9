"""Remedies for classes with few examples: seeing their images more often, and a loss for them.

Gupta, Dollar & Girshick 2019, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", for the
sampling; Dong, Gong & Zhu 2017, "Class Rectification Hard Mining for Imbalanced Deep Learning", for
the loss.
"""
