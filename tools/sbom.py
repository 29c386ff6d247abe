"""Write what a release is made of: python tools/sbom.py FILE... > cconv1d.cdx.json

A bill of materials in CycloneDX 1.6 of an sdist and its wheels, from their metadata: the package,
each file with its SHA-256, and what it needs at run time. Nothing else is in a wheel, which
check_wheel.py sees to. The same files give the same bytes.
"""

from __future__ import annotations

import email
import hashlib
import json
import re
import sys
import tarfile
import uuid
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any


def metadata(path: Path) -> Message:
    """What an sdist or a wheel says of itself."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(archive.read(name))
    with tarfile.open(path) as archive:
        (name,) = (n for n in archive.getnames() if re.fullmatch("[^/]+/PKG-INFO", n))
        member = archive.extractfile(name)
        assert member is not None
        return email.message_from_bytes(member.read())


def bill(paths: list[Path]) -> dict[str, Any]:
    """The document, as JSON has it; all files must be of one version."""
    said = [metadata(path) for path in paths]
    fields = "Name", "Version", "Summary", "License-Expression"
    ((name, version, summary, licence),) = {tuple(each[f] for f in fields) for each in said}
    needs = sorted(
        {
            need
            for each in said
            for need in each.get_all("Requires-Dist", [])
            if "extra ==" not in need
        }
    )
    itself = f"pkg:pypi/{name}@{version}"
    files = [
        {
            "type": "file",
            "name": path.name,
            "hashes": [
                {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}
            ],
        }
        for path in sorted(paths, key=lambda path: path.name)
    ]
    others = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{other}",
            "name": other,
            "purl": f"pkg:pypi/{other}",
            "description": f"{need}, at run time; not part of any file",
            "scope": "required",
        }
        for need in needs
        for other in re.findall(r"^[\w.-]+\w", need)
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, itself + json.dumps(files)).urn,
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": itself,
                "name": name,
                "version": version,
                "description": summary,
                "licenses": [{"expression": licence}],
                "purl": itself,
                "components": files,
            }
        },
        "components": others,
        "dependencies": [
            {"ref": itself, "dependsOn": [other["bom-ref"] for other in others]},
            *({"ref": other["bom-ref"]} for other in others),
        ],
    }


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(json.dumps(bill([Path(name) for name in sys.argv[1:]]), indent=1))


if __name__ == "__main__":
    main()
