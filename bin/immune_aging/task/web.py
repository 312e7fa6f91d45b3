"""How steps open addresses: over https unless the user allows less, and never from there to another scheme."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import requests

from immune_aging.task.command_line import BadInput

TIMEOUT_SECONDS = (20, 60)  # to connect; between two bytes
REDIRECTS = 10


def open_url(
    url: str,
    *,
    named: str,
    allow_http: bool = False,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
) -> requests.Response:
    """Open a URL for streaming, following redirects that keep or raise the security of its scheme.

    Parameters
    ----------
    named
        How errors name the address: the parameter that gave it, with its value.
    allow_http
        Whether an unprotected connection will do: what comes over it may be read and changed on the way.
    params
        Added to the address as its query.

    Raises
    ------
    BadInput
        An address that is not https, or a redirect to one that is less.
    """
    if urlsplit(url).scheme != "https" and not (allow_http and urlsplit(url).scheme == "http"):
        raise BadInput(f"{named}: only https:// is protected on the way; give such an address, or --allow_http true")
    for _ in range(REDIRECTS):
        response = requests.get(
            url, params=params, headers=headers, stream=True, timeout=TIMEOUT_SECONDS, allow_redirects=False
        )
        if not response.is_redirect:
            return response
        target = requests.compat.urljoin(url, response.headers["location"])
        response.close()
        schemes = urlsplit(url).scheme, urlsplit(target).scheme
        if schemes not in {("http", "http"), ("http", "https"), ("https", "https")}:
            raise BadInput(f"{named}: the server redirects to {target}; give the final address yourself")
        url, params = target, None
    raise BadInput(f"{named}: more than {REDIRECTS} redirects; give the final address yourself")
