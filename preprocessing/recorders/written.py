"""Moments as tables hold them."""

import pandas as pd


def texts_of(moments: pd.Series) -> pd.Series:
    """``2024-05-31 22:39:11``, with a fraction where there is one; "" where it is not known."""
    text = moments.dt.strftime("%Y-%m-%d %H:%M:%S.%f").str.replace(r"\.?0{1,6}$", "", regex=True)
    return text.fillna("")


def utc_texts(moments: pd.Series) -> pd.Series:
    """``2024-05-31T20:39:11Z``."""
    text = texts_of(moments)
    return text.where(text == "", text.str.replace(" ", "T") + "Z")
