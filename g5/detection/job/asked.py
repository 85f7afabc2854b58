"""The threshold for a precision or a recall that is asked for, from reviewed events."""

from collections.abc import Collection
from pathlib import Path

from g5.common.errors import UserError
from g5.config.schema import DetectionSettings
from g5.config.settings import load_transfer
from g5.detection.detector import Detector
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import REVIEWS, FoundEvents


def take_reviewed(detector: Detector, support: Path, labels: Collection[str]) -> None:
    """Give the detector the thresholds that the answers to a support's events say.

    Raises:
        UserError: no threshold reaches the precision, or nothing at all can say one.
    """
    asks = detector.settings.asks
    detector.least.update(reviewed_thresholds(support, detector.settings))
    if asks and detector.scorer.cuts_itself and not set(labels) <= set(detector.least):
        raise UserError(
            f"detection.{asks[0]}: the shots have no say in this detection's threshold; leave it "
            "out, or use detection=prototypes"
        )


def reviewed_thresholds(support: Path, settings: DetectionSettings) -> dict[str, float]:
    """By species that has answers, the score from which on the share asked for is reached.

    Prints it with its interval. Nothing where nothing is asked for or reviewed.

    Raises:
        UserError: no threshold reaches the precision.
    """
    if not (settings.asks and (support / REVIEWS).is_file()):
        return {}
    (name, wanted), found = settings.asks, FoundEvents.read(support)
    if not len(found.events):
        return {}
    session, scores = ReviewSession(found, load_transfer([], reads=("review",)).review), {}
    for label, curve in session.curves().items():
        score = getattr(curve, f"for_{name}")(wanted)
        if score is None:
            best = curve.values_G6[:, 0].max()
            raise UserError(
                f"detection.{name}={wanted:g}: by the {curve.answers} answers no threshold gives "
                f"it for {label} ({best:.2f} at best); ask for less, or answer more"
            )
        middle, low, high = curve.at(score)[:3] if name == "precision" else curve.at(score)[3:]
        scores[label] = min(score, 1 - 1e-9)
        print(
            f"threshold  {label}: a score of {score:.3g}; {name} {middle:.2f} ({low:.2f} to "
            f"{high:.2f}) by {curve.answers} answers, of the events that were reviewed"
        )
        if name == "precision" and score <= curve.threshold_G[0]:
            print(
                f"           {label}: all that was reviewed has it; a lower detection.threshold "
                "finds more to review"
            )
    return scores
