"""Small requests for predictions, which are answered as soon as they are received.

For other requests, uvicorn starts a task that exchanges messages with the application. For a single row,
this takes longer than reading, checking and predicting it.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from urllib.parse import quote

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from trainer.serving.application import (
    THREAD_BYTES,
    Application,
    bug_response,
    error_response,
    unauthorized,
)
from trainer.serving.bodies import JSON_TYPE
from trainer.serving.models import Served
from trainer.serving.problems import RequestError
from trainer.serving.responses import count_predictions, predict_body

Headers = Sequence[tuple[bytes, bytes]]

_OTHER_REQUESTS = frozenset({b"content-encoding", b"transfer-encoding", b"expect"})
_ANY_TYPE = b"*/*"


class ImmediateResponses:
    """Answers small requests for predictions in JSON, with the responses of `Application`."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._json = JSON_TYPE.encode()
        self._max_bytes = min(THREAD_BYTES, application.limits.max_body_bytes)
        # Others are percent-encoded, and decoded by uvicorn.
        plain = (path for path in application.predict_paths if quote(path) == path)
        self._paths = {path.encode(): path for path in plain}

    def accepts(self, url: bytes, headers: Headers) -> bool:
        """Return whether a POST request is answered here.

        Args:
            url: Its path and query.
            headers: Its headers, with names in lower case.
        """
        served = self._served(url) if url in self._paths else None
        if served is None or served.model.writes_texts:
            return False
        values = dict(headers)
        length = values.get(b"content-length", b"")
        return (
            len(length) <= 8
            and length.isdigit()
            and int(length) <= self._max_bytes
            and values.get(b"content-type", b"").startswith(self._json)
            and values.get(b"accept", _ANY_TYPE) in (_ANY_TYPE, self._json)
            and _OTHER_REQUESTS.isdisjoint(values)
        )

    def answer(self, url: bytes, headers: Headers, body: bytes, more: Headers) -> bytes:
        """Return the response to a request, and count it.

        Args:
            url: Its path and query.
            headers: Its headers.
            body: Its body.
            more: Headers to add to the response.
        """
        begin = perf_counter()
        counters = self._application.counters
        response = self._response(url, headers, body)
        counters.count_request("predict", response.status_code)
        counters.count_duration(perf_counter() - begin)
        lines = [STATUS_LINE[response.status_code]]
        for name, value in (*more, *response.raw_headers):
            lines += (name, b": ", value, b"\r\n")
        return b"".join((*lines, b"\r\n", response.body))

    def _served(self, url: bytes) -> Served | None:
        """Return the model of a path; None for a generator."""
        served = self._application.models.get(self._application.predict_paths[self._paths[url]])
        assert served is not None, "models are replaced, but never removed"
        return served if isinstance(served, Served) else None

    def _response(self, url: bytes, headers: Headers, body: bytes) -> Response:
        application, path = self._application, self._paths[url]
        if not application.is_allowed(path, headers):
            return unauthorized()
        served = self._served(url)
        assert served is not None, "a model is not replaced by a generator"
        content_type = dict(headers)[b"content-type"].decode("latin-1")
        try:
            response = predict_body(served, body, content_type, application.limits)
            count_predictions(application.counters, served, response)
        except RequestError as error:
            return error_response(error)
        except Exception as error:
            return bug_response("POST", path, error)
        return Response(response.body, media_type=response.media_type, headers=served.headers)
