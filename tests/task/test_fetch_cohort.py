"""A cohort is fetched once, whole or not at all, and what a server does wrong ends in one clear line."""

import hashlib
import http.server
import threading

import pytest

import fetch_cohort
from immune_aging.task import downloads, web
from immune_aging.task.checkpoints import read_json
from immune_aging.task.command_line import BadInput

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """A local stand-in for the remote side, with faults on demand."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.break_after, self.fail, self.redirect = CONTENT, '"v1"', [], [], None
        self.requests, self.stall_after, self.pause_seconds, self.closing = [], [], 0.0, threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path="/cohort.h5ad"):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        if server.redirect and self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if server.fail:
            self.send_error(server.fail.pop(0))
            return
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == server.etag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.etag)
        self.end_headers()
        if server.stall_after:
            self.wfile.write(body[: server.stall_after.pop(0)])
            server.closing.wait(20)
            return
        body = body[: server.break_after.pop(0)] if server.break_after else body
        for begin in range(0, len(body), len(body) // 10 or 1):
            self.wfile.write(body[begin : begin + (len(body) // 10 or 1)])
            server.closing.wait(server.pause_seconds)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloads.time, "sleep", lambda seconds: None)


def test_a_url_is_downloaded_once(server, tmp_path):
    path, digest = downloads.download(server.url(), tmp_path, sha256=SHA256, allow_http=True)
    assert path.read_bytes() == CONTENT and digest == SHA256
    again, _ = downloads.download(server.url(), tmp_path, sha256="", allow_http=True)
    assert again == path and len(server.requests) == 1


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.break_after = [300_000, 200_000]
    path, _ = downloads.download(server.url(), tmp_path, sha256=SHA256, allow_http=True)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=500000-"]


def test_a_killed_run_resumes_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)
    server.break_after = [300_000]
    with pytest.raises(ConnectionError, match=r"run again with -resume to go on from 300,000 bytes"):
        downloads.download(server.url(), tmp_path, sha256="", allow_http=True)
    path, _ = downloads.download(server.url(), tmp_path, sha256="", allow_http=True)
    assert path.read_bytes() == CONTENT and server.requests[-1] == "bytes=300000-"


def test_a_file_that_changed_on_the_server_is_fetched_anew(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)
    server.break_after = [300_000]
    with pytest.raises(ConnectionError):
        downloads.download(server.url(), tmp_path, sha256="", allow_http=True)
    server.content, server.etag = CONTENT[::-1], '"v2"'
    path, _ = downloads.download(server.url(), tmp_path, sha256="", allow_http=True)
    assert path.read_bytes() == CONTENT[::-1]


def test_server_errors_are_tried_again(server, tmp_path):
    server.fail = [500, 503]
    path, _ = downloads.download(server.url(), tmp_path, sha256=SHA256, allow_http=True)
    assert path.read_bytes() == CONTENT


def test_a_wrong_address_is_bad_input_and_not_tried_again(server, tmp_path):
    server.fail = [404]
    with pytest.raises(BadInput, match="the server answers 404"):
        downloads.download(server.url(), tmp_path, sha256="", allow_http=True)
    assert len(server.requests) == 1


def test_a_wrong_checksum_leaves_nothing_behind(server, tmp_path):
    with pytest.raises(BadInput, match=f"sha256 is {SHA256}"):
        downloads.download(server.url(), tmp_path, sha256="0" * 64, allow_http=True)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_a_damaged_cached_file_is_fetched_again(server, tmp_path):
    path, _ = downloads.download(server.url(), tmp_path, sha256="", allow_http=True)
    path.write_bytes(b"short")
    path, _ = downloads.download(server.url(), tmp_path, sha256=SHA256, allow_http=True)
    assert path.read_bytes() == CONTENT


def test_redirects_are_followed_but_not_to_another_scheme(server, tmp_path):
    server.redirect = server.url()
    path, _ = downloads.download(server.url("/redirect"), tmp_path, sha256=SHA256, allow_http=True)
    assert path.read_bytes() == CONTENT
    server.redirect = "file:///etc/passwd"
    with pytest.raises(BadInput, match="redirects to file:///etc/passwd"):
        downloads.download(server.url("/redirect?again"), tmp_path, sha256="", allow_http=True)


@pytest.mark.parametrize(
    "url", ["https://x/a b/../../../etc/passwd", "https://x/", "https://x/.hidden", "https://x/%2e%2e%2fz"]
)
def test_names_of_downloads_stay_in_their_folder(url, tmp_path):
    name = downloads.cached_name(url)
    assert (tmp_path / name).resolve().parent == tmp_path.resolve() and not name.startswith(".")


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_local_file_is_only_fingerprinted(form, tmp_path):
    path = tmp_path / "my cohort.h5ad"
    path.write_bytes(CONTENT)
    arguments = [
        "--source",
        form.format(path),
        "--download-dir",
        str(tmp_path / "d"),
        "--output",
        str(tmp_path / "f.json"),
    ]
    fetch_cohort.main([*arguments, "--versions", str(tmp_path / "v.json")])
    assert read_json(tmp_path / "f.json") == {"location": str(path), "size": len(CONTENT), "sha256": SHA256}
    assert not (tmp_path / "d").exists()
    with pytest.raises(BadInput, match="--sha256 says"):
        fetch_cohort.main([*arguments, "--sha256", "f" * 64])


@pytest.mark.parametrize(
    ("source", "message"), [("/no/such.h5ad", "there is no such file"), ("ftp://x/y", "must begin with")]
)
def test_what_cannot_be_fetched_is_said(source, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        fetch_cohort.main(["--source", source, "--download-dir", str(tmp_path), "--output", str(tmp_path / "f.json")])


def test_a_server_that_stops_in_the_middle_is_left_and_asked_for_the_rest(server, tmp_path, monkeypatch):
    """It keeps the connection open and says nothing more; nothing but the time between two bytes tells."""
    monkeypatch.setattr(web, "TIMEOUT_SECONDS", (5, 0.3))
    server.stall_after = [300_000]
    path, _ = downloads.download(server.url(), tmp_path, sha256=SHA256, allow_http=True)
    assert path.read_bytes() == CONTENT and server.requests == [None, "bytes=300000-"]


def test_a_slow_server_is_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT_SECONDS", (5, 0.5))
    server.pause_seconds = 0.1
    path, _ = downloads.download(server.url(), tmp_path, sha256=SHA256, allow_http=True)
    assert path.read_bytes() == CONTENT and server.requests == [None]
