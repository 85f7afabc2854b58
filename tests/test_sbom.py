"""The bill of materials lists every package of the lock file, once, with its hashes."""

import json
import re
import subprocess
import sys

import pytest

from g5 import __version__
from tests.conftest import ROOT

SCRIPT = ROOT / ".ci" / "sbom.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="an installed g5 has no lock file")
def test_every_locked_package_is_a_component():
    told = subprocess.run([sys.executable, SCRIPT], capture_output=True, check=True).stdout
    found = json.loads(told)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["version"] == __version__
    lock = (ROOT / "requirements.lock").read_text()
    locked = re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.M)
    assert [(one["name"], one["version"]) for one in found["components"]] == locked
    hashes = [one["externalReferences"][0]["hashes"] for one in found["components"]]
    assert sum(map(len, hashes)) == lock.count("--hash=sha256:")
    assert all(hashes)
    refs = [one["bom-ref"] for one in found["components"]]
    assert len(set(refs)) == len(refs)
    assert subprocess.run([sys.executable, SCRIPT], capture_output=True).stdout == told
