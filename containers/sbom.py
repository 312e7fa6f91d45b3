"""The software bill of materials of the image, as CycloneDX 1.5 JSON. Runs inside the image; standard library only.

In: requirements.lock on standard input. Out: the document on standard output: every locked Python package with the
sha256 sums that its file may have, and every Debian package of the base. Fails where what is installed is not what
the lock says. The same image gives the same bytes.
"""

import importlib.metadata
import json
import platform
import re
import subprocess
import sys


def python_packages(lock):
    """Components of the lock, by name."""
    components = []
    for entry in re.split(r"^(?=\w)", lock, flags=re.MULTILINE)[1:]:
        name, version = re.match(r"([\w.-]+)==(\S+)", entry).groups()
        url = f"pkg:pypi/{name.lower()}@{version}"
        hashes = [{"alg": "SHA-256", "content": digest} for digest in re.findall(r"sha256:([0-9a-f]{64})", entry)]
        # A locked package is one of several files, one a platform: each file is a distribution of the component.
        files = [{"type": "distribution", "url": url, "hashes": [digest]} for digest in hashes]
        components.append(component(name, version, url, externalReferences=files))
    return components


def debian_packages():
    """Components that dpkg knows, by name."""
    fields = "${Package}\t${Version}\t${Architecture}\n"
    listed = subprocess.run(["dpkg-query", "-W", "-f", fields], check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    return [
        component(name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}")
        for name, version, architecture in sorted(rows)
    ]


def component(name, version, url, **more):
    """One package as CycloneDX writes it."""
    # In a package URL a plus must not read as a space, nor a colon or tilde as anything else.
    url = url.replace("+", "%2B").replace("~", "%7E")
    head, at, tail = url.partition("@")
    url = head + at + tail.replace(":", "%3A")
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url, **more}


def main():
    """Write the document; an error where the installed packages are others than those of the lock."""
    packages = python_packages(sys.stdin.read())
    locked = {(re.sub(r"[-_.]+", "-", one["name"]).lower(), one["version"]) for one in packages}
    installed = {(re.sub(r"[-_.]+", "-", one.name).lower(), one.version) for one in importlib.metadata.distributions()}
    if locked != installed:
        sys.exit(f"immune-aging: the image's packages are not those of requirements.lock: {sorted(locked ^ installed)}")
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "name": "immune-aging", "bom-ref": "image"},
            "properties": [{"name": "python", "value": platform.python_version()}],
        },
        "components": [*packages, *debian_packages()],
    }
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
