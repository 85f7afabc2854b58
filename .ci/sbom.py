"""`make sbom`: what requirements.lock installs, as a CycloneDX 1.6 document on standard output.

The same lock gives the same bytes: there is no time of day in it.
"""

import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+))?")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def document(lock: str, version: str) -> dict[str, Any]:
    """The document for the text of a lock file; ``version`` is g5's own."""
    components: list[dict[str, Any]] = []
    for line in lock.splitlines():
        if found := PACKAGE.match(line):
            components.append(_component(*found.groups()))
        elif found := HASH.search(line):
            (place,) = components[-1]["externalReferences"]
            place["hashes"].append({"alg": "SHA-256", "content": found[1]})
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, version + lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": "g5", "name": "g5", "version": version,
            }
        },
        "components": components,
    }  # fmt: skip


def _component(name: str, version: str, marker: str | None) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", name).lower()
    page = f"https://pypi.org/project/{name}/{version}/"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"{name}=={version}",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version.replace('+', '%2B')}",
        "externalReferences": [{"type": "distribution", "url": page, "hashes": []}],
    }
    if marker:
        component["properties"] = [{"name": "g5:marker", "value": marker.strip()}]
    return component


def main() -> None:
    """Print the document of this checkout."""
    init = (ROOT / "g5" / "__init__.py").read_text("utf-8")
    found = re.search(r'__version__ = "([^"]+)"', init)
    assert found is not None
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    json.dump(document(lock, found[1]), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
