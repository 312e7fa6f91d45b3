"""A small local HTTP server in place of a public service, which answers what a test tells it to."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, str]


@contextlib.contextmanager
def served(answer: Callable[[str, str], Answer]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Serve on a free port of this machine.

    Parameters
    ----------
    answer
        From a request's path (with query) and body to a status and a text.

    Yields
    ------
    The server's address, and the list of requests (path, body) so far.
    """
    requests: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            requests.append((self.path, body))
            status, text = answer(self.path, body)
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = reply  # noqa: N815  names that the library calls

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
