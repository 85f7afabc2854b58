"""Data sets: folders of recordings with annotations, splits, downloads."""

from preprocessing.datasets.folders import ClipsData, DcaseData, RavenData

__all__ = ["ClipsData", "DcaseData", "RavenData"]
