"""Downloads that resume, verify what they got and are shared between runs."""

# Own code: pooch begins a broken download of 10 GB again from its first byte.

import contextlib
import fcntl
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import requests
import urllib3

from immune_aging.task.checkpoints import BLOCK_BYTES, read_json, sha256_of, write_json
from immune_aging.task.command_line import BadInput, Progress
from immune_aging.task.web import open_url

TRIES = 6


def cached_name(url: str) -> str:
    """File name in the download folder: a digest of the URL, so that equal base names do not collide."""
    base = "".join(c for c in unquote(urlsplit(url).path).rsplit("/", 1)[-1] if c.isalnum() or c in "._-")
    return f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{base.lstrip('.-') or 'cohort.h5ad'}"[:150]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two runs do not write one download at the same time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def download_once(url: str, partial: Path, *, allow_http: bool = False) -> None:
    """Fetch what `partial` lacks of `url`, appending to it.

    The validator (ETag or date) of the first answer is kept beside it: if the file changed on the server since,
    the server sends it whole and the download begins anew.
    """
    validator_file = partial.with_name(partial.name + ".json")
    validator = read_json(validator_file)["validator"] if validator_file.exists() else ""
    have = partial.stat().st_size if partial.exists() and validator else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with open_url(url, named=f"--input {url}", headers=headers, allow_http=allow_http) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            whole = response.headers.get("content-range", "").rsplit("/", 1)[-1]
            if whole != str(have):
                partial.unlink()
                raise requests.ConnectionError("the part on disk does not fit the file on the server")
            return
        if 400 <= response.status_code < 500 and response.status_code not in (408, 425, 429):
            raise BadInput(
                f"--input {url}: the server answers {response.status_code} {response.reason}; check the address"
            )
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        start = have if resumed else 0
        write_json(
            {"validator": response.headers.get("etag") or response.headers.get("last-modified", "")}, validator_file
        )
        length = response.headers.get("content-length")
        total = start + int(length) if length else 0
        progress = Progress(total, unit="bytes", label=f"download of {urlsplit(url).path.rsplit('/', 1)[-1]}")
        progress.advance(start)
        got = start
        with partial.open("ab" if resumed else "wb") as file:
            # read1 hands over what came before a connection breaks; iter_content would lose that block.
            while block := response.raw.read1(BLOCK_BYTES):
                file.write(block)
                got += len(block)
                progress.advance(len(block))
        progress.close()
        if total and got != total:
            raise requests.ConnectionError(f"the connection ended after {got:,} of {total:,} bytes")


def download(
    url: str, folder: Path, *, sha256: str, allow_http: bool = False, wait_seconds: float = 2.0
) -> tuple[Path, str]:
    """Download `url` into `folder`, once.

    Parameters
    ----------
    allow_http
        Whether an unprotected connection will do.

    Returns
    -------
    The file and its sha256.

    Raises
    ------
    BadInput
        The address is wrong or the checksum differs.
    ConnectionError
        The server could not be reached or broke off in each of `TRIES` tries. What came is kept for the next.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / cached_name(url)
    partial, receipt = target.with_name(target.name + ".part"), target.with_name(target.name + ".json")
    with locked(target.with_name(target.name + ".lock")):
        if target.exists() and receipt.exists():
            known = read_json(receipt)
            if known["size"] == target.stat().st_size and known["modified"] == target.stat().st_mtime_ns:
                verify(known["sha256"], sha256, url)
                print(f"{url} was downloaded before: {target}", file=sys.stderr)
                return target, known["sha256"]
        for attempt in range(TRIES):
            try:
                download_once(url, partial, allow_http=allow_http)
                break
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                if attempt == TRIES - 1:
                    raise ConnectionError(
                        f"{url} could not be downloaded in {TRIES} tries ({error}); run again with -resume "
                        f"to go on from {partial.stat().st_size if partial.exists() else 0:,} bytes"
                    ) from error
                print(f"download broke off ({error}); try {attempt + 2} of {TRIES}", file=sys.stderr)
                time.sleep(wait_seconds * 2**attempt)
        digest = sha256_of(partial)
        validator_file = partial.with_name(partial.name + ".json")
        try:
            verify(digest, sha256, url)
        except BadInput:
            partial.unlink()
            validator_file.unlink(missing_ok=True)
            raise
        partial.replace(target)
        stat = target.stat()
        write_json({"url": url, "size": stat.st_size, "modified": stat.st_mtime_ns, "sha256": digest}, receipt)
        validator_file.unlink(missing_ok=True)
    return target, digest


def verify(digest: str, expected: str, source: str) -> None:
    """Raise `BadInput` where a checksum was given and differs."""
    if expected and digest != expected.lower():
        raise BadInput(
            f"--input {source}: its sha256 is {digest}, but --sha256 says {expected}; the file is damaged or another"
        )


def local_path(source: str) -> Path | None:
    """The path that `source` names, by itself or as a file:// URL; None for a web address."""
    parts = urlsplit(source)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    if parts.scheme in ("http", "https"):
        return None
    if "://" in source:
        raise BadInput(f"--input {source}: addresses must begin with https://, http:// or file://; or give a path")
    return Path(source)
