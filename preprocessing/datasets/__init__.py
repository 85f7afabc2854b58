"""Data sets: folders of recordings with annotations, splits, downloads."""

from preprocessing.datasets.clips import ClipsData
from preprocessing.datasets.folders import AnnotatedData, DcaseData, RavenData

__all__ = ["AnnotatedData", "ClipsData", "DcaseData", "RavenData"]
