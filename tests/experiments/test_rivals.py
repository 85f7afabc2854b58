"""The windows that rivals hear."""

import numpy as np

from experiments.rivals.answers import _window


def test_a_short_clip_is_centred_in_silence_and_a_long_one_gives_its_loudest_window():
    assert _window(np.ones(2, np.float32), 5).tolist() == [0, 1, 1, 0, 0]
    wave_S = np.array([0, 0.1, 0.1, 0, 0, 0, 1, 1, 0, 0], np.float32)
    assert _window(wave_S, 3).tolist() == [0, 1, 1]
    assert _window(wave_S, 10).tolist() == wave_S.tolist()
