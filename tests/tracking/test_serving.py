"""The MLflow model: loads in a process that has never heard of g5, and embeds waveforms."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from g5.tracking.checkpoints import load, save
from g5.tracking.mlflow.model import PACKAGES, save_model
from g5.tracking.mlflow.places import quiet_mlflow
from g5.tracking.restore import restore
from tests.conftest import ROOT
from tests.tracking.test_checkpoints import checkpoint

STRANGER = """
    import json, sys
    # As on a machine without g5: only what the model brings is found.
    sys.path = [path for path in sys.path if path != sys.argv[4]]
    sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
    import mlflow.pyfunc, numpy as np
    model = mlflow.pyfunc.load_model(sys.argv[1])
    print("loaded", flush=True)
    z = model.predict(np.load(sys.argv[2]))
    np.save(sys.argv[3], z)
    import g5.tracking
    print(json.dumps({
        "rate": model.metadata.metadata["sample_rate_hz"],
        "code": g5.tracking.__file__,
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    }))
"""


def waves(clips: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(clips, 4000)).astype(np.float32) / 10


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint, and the MLflow model made of it."""
    quiet_mlflow()
    root = tmp_path_factory.mktemp("served")
    path = root / "best_checkpoint.ckpt"
    save(checkpoint(), path)
    save_model(path, root / "made" / "model")
    return path, root / "made" / "model"


def test_what_the_model_consists_of(saved: tuple[Path, Path]) -> None:
    _, model = saved
    card = yaml.safe_load((model / "MLmodel").read_text())
    spec = {"type": "tensor", "tensor-spec": {"dtype": "float32"}}
    assert json.loads(card["signature"]["inputs"]) == [
        spec | {"tensor-spec": {"dtype": "float32", "shape": [-1, -1]}}
    ]
    assert json.loads(card["signature"]["outputs"])[0]["tensor-spec"]["shape"] == [-1, 8]
    needed = (model / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in needed] == list(PACKAGES)
    assert not [path for path in model.rglob("*") if path.suffix in (".pkl", ".pickle")]
    # The weights without the optimiser, still safe to load.
    inside = model / "artifacts" / "best_checkpoint.ckpt"
    assert "optimizer_states" not in load(inside)
    assert sorted(path.name for path in model.parent.iterdir()) == ["model"]


def test_a_stranger_embeds_waveforms(saved: tuple[Path, Path], tmp_path: Path) -> None:
    path, model = saved
    wave_BS = waves(3)
    np.save(tmp_path / "in.npy", wave_BS)
    here = str(ROOT)
    arguments = [str(model), str(tmp_path / "in.npy"), str(tmp_path / "out.npy"), here]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(STRANGER), *arguments],
        cwd=tmp_path, env=environment, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "serving" not in done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert said["rate"] == 8000
    assert Path(said["code"]).is_relative_to(model)
    # What takes long to import or to install is not needed.
    assert not {"pytorch_lightning", "hydra", "soundfile", "librosa"} & set(said["modules"])
    z_BD = np.load(tmp_path / "out.npy")
    assert (z_BD.shape, z_BD.dtype) == ((3, 8), np.float32)
    np.testing.assert_allclose(
        z_BD, restore(path).embed(torch.from_numpy(wave_BS)).numpy(), rtol=1e-4, atol=1e-5
    )


def test_bad_waveforms(saved: tuple[Path, Path]) -> None:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(saved[1]))
    embedder: Any = model.unwrap_python_model()
    wave_BS = waves(2)
    assert model.predict(wave_BS).shape == (2, 8)
    assert model.predict(wave_BS[:, :1]).shape == (2, 8)
    with pytest.raises(ValueError, match=r"must be \(batch, samples\), not \(4000,\)"):
        embedder.predict(None, wave_BS[0])
    with pytest.raises(ValueError, match="must be"):
        embedder.predict(None, wave_BS[:, :0])
    wave_BS[1, 7] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        embedder.predict(None, wave_BS)
