"""What is made ready for a picture while a person looks at a list: half a second that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

_PAGES = ("/ui", "/ohif")


def ahead(app: ASGIApp, prepare: Callable[[], None]) -> ASGIApp:
    """Return an application that prepares for pictures when a page is asked for, and passes the request on.

    Who searches or retrieves by DICOMweb alone, as machines do that never want a
    picture, costs no process for them.

    Parameters
    ----------
    app
        The application.
    prepare
        Has what makes pictures started, if it is not; called in a thread.
    """
    under_way = threading.Lock()

    def in_thread() -> None:
        try:
            prepare()
        finally:
            under_way.release()

    async def prepared(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_PAGES) and under_way.acquire(blocking=False):
            threading.Thread(target=in_thread, name="pictures-ahead", daemon=True).start()
        await app(scope, receive, send)

    return prepared
