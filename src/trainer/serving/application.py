"""The routes of a worker.

POST /predict, /explain           rows → predictions; one row → an explanation of its prediction
GET  /schema, /                   the columns of requests (OpenAPI); a page with a form
GET  /models                      the models; `/models/NAME/predict`, … serve each of them
GET  /health, /ready, /metrics    for supervision
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trainer.errors import did_you_mean
from trainer.serving.bodies import (
    ARROW_TYPES,
    CSV_TYPE,
    JSON_TYPE,
    Form,
    Table,
    accepted_types,
    media_type,
    read_body,
)
from trainer.serving.counters import Counters
from trainer.serving.models import LOG, Models, Served
from trainer.serving.occlusion import explain_row
from trainer.serving.openapi import combined_api, json_response
from trainer.serving.page import PageKind, page_response
from trainer.serving.problems import RequestError, error_body, refuse
from trainer.serving.prometheus import metrics_text
from trainer.serving.responses import PredictionResponse, count_predictions, predict_body
from trainer.serving.settings import Limits

if TYPE_CHECKING:
    from trainer.serving.generators import ServedGenerator

_THREADS = 2
THREAD_BYTES = 16 * 1024
"""Larger bodies are processed in a thread, while the event loop answers other requests."""
_PUBLIC = {"/", "/health", "/ready"}
"""Paths without a token: the page has no data in it, and supervisors often cannot send one."""
_Result = TypeVar("_Result")


class Application:
    """The ASGI application of a worker.

    Attributes:
        models: The models.
        counters: The counters of the worker.
        limits: Limits of requests.
        predict_paths: The paths of predictions, and the model of each; None for the first.
        bytes_in_flight: The size of the bodies of requests that are not answered yet.
    """

    def __init__(
        self, models: Models, counters: Counters, limits: Limits, token: str | None = None
    ) -> None:
        self.models = models
        self.counters = counters
        self.limits = limits
        self._token = None if token is None else _digest(token.encode())
        self._pool = ThreadPoolExecutor(_THREADS, "predict")
        self.bytes_in_flight = 0
        # Routing takes longer than a prediction, so the paths of predictions are looked up.
        self.predict_paths: dict[str, str | None] = {"/predict": None}
        self.predict_paths |= {f"/models/{name}/predict": name for name in models.names}
        self._routes: ASGIApp = Starlette(
            routes=[
                Route("/predict", self._no_model, methods=["POST"]),
                Route("/models/{name}/predict", self._no_model, methods=["POST"]),
                Route("/explain", self._explain, methods=["POST"]),
                Route("/models/{name}/explain", self._explain, methods=["POST"]),
                Route("/schema", self._schema),
                Route("/models/{name}/schema", self._schema),
                Route("/models", self._list),
                Route("/models/{name}", self._page),
                Route("/health", self._health),
                Route("/ready", self._health),
                Route("/metrics", self._metrics),
                Route("/", self._page),
            ],
            exception_handlers={
                RequestError: _request_error,
                HTTPException: _http_error,
                ClientDisconnect: _disconnected,
                Exception: _bug,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and count it."""
        if scope["type"] != "http":
            await self._routes(scope, receive, send)
            return
        begin = perf_counter()
        route = _route(scope["path"])
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if not self.is_allowed(scope["path"], scope["headers"]):
                await unauthorized()(scope, receive, counted)
            elif scope["method"] == "POST" and scope["path"] in self.predict_paths:
                response = await self._answer(Request(scope, receive))
                await response(scope, receive, counted)
            else:
                await self._routes(scope, receive, counted)
        finally:
            self.counters.count_request(route, status)
            if route == "predict":
                self.counters.count_duration(perf_counter() - begin)

    def is_allowed(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether a request has the token, or needs none."""
        if self._token is None or path in _PUBLIC:
            return True
        for name, value in headers:
            if name == b"authorization":
                kind, _, token = value.partition(b" ")
                # Hashes of the same length, so that the time depends on neither token.
                is_same = hmac.compare_digest(_digest(token.strip()), self._token)
                return is_same and kind.lower() == b"bearer"
        return False

    async def _answer(self, request: Request) -> Response:
        """Return the response to a request for predictions, also to one that is refused."""
        try:
            return await self._predict(request, self.predict_paths[request.scope["path"]])
        except RequestError as error:
            return error_response(error)
        except ClientDisconnect as error:
            return await _disconnected(request, error)
        except Exception as error:
            return await _bug(request, error)

    async def _no_model(self, request: Request) -> Response:
        self._served(request)
        raise AssertionError("the paths of predictions of models are looked up")

    async def _predict(self, request: Request, name: str | None) -> Response:
        served = self._served(request, name)
        if not isinstance(served, Served):
            return await self._sample(request, served)
        form = _accepted_form(request)
        async with self._body(request) as body:
            content_type = request.headers.get("content-type", "")
            ignore_unknown = _ignores_unknown(request)

            def predict() -> PredictionResponse:
                return predict_body(
                    served,
                    body,
                    content_type,
                    self.limits,
                    form=form,
                    ignore_unknown=ignore_unknown,
                )

            # Translations take longer than other predictions.
            is_long = served.model.writes_texts or len(body) > THREAD_BYTES
            response = await self._in_thread(predict) if is_long else predict()
        count_predictions(self.counters, served, response)
        return Response(response.body, media_type=response.media_type, headers=served.headers)

    async def _sample(self, request: Request, served: ServedGenerator) -> Response:
        async with self._body(request) as body:
            content_type = request.headers.get("content-type", "")
            accepted = request.headers.get("accept")
            response = await self._in_thread(
                lambda: served.respond(body, content_type, accepted, self.limits)
            )
        self.counters.count_rows(served.number, response.count, 0)
        return Response(response.body, media_type=response.media_type, headers=response.headers)

    async def _explain(self, request: Request) -> Response:
        served = self._served(request)
        if not isinstance(served, Served):
            fix = "POST /predict draws samples"
            raise refuse(422, "a model that predicts rows", "a generator", fix)
        async with self._body(request) as body:
            content_type = request.headers.get("content-type", "")

            def explain() -> bytes:
                table = read_body(body, content_type, served.reader.images, self.limits)
                if table.rows != 1:
                    raise refuse(422, "one row", f"{table.rows:,} rows", "send them one by one")
                return explain_row(served.model, served.reader, _one_row(table))

            encoded = await self._in_thread(explain)
        return Response(encoded, media_type=JSON_TYPE, headers=served.headers)

    async def _schema(self, request: Request) -> Response:
        served = self._served(request)
        if "name" in request.path_params or len(self.models.names) == 1:
            return json_response(served.api)
        apis = {name: self.models.get(name) for name in self.models.names}
        return json_response(combined_api({name: one.api for name, one in apis.items() if one}))

    async def _list(self, _: Request) -> Response:
        return json_response({"models": [served.listed for served in self.models.all()]})

    async def _page(self, request: Request) -> Response:
        kind: PageKind = "rows" if isinstance(self._served(request), Served) else "samples"
        return page_response(kind, needs_token=self._token is not None)

    async def _health(self, _: Request) -> Response:
        return json_response({"status": "ok"})

    async def _metrics(self, _: Request) -> Response:
        self.models.count_pending()
        text = metrics_text(self.counters, self.models.all())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _served(self, request: Request, name: str | None = None) -> Served | ServedGenerator:
        name = request.path_params.get("name") if name is None else name
        served = self.models.get(name)
        if served is None:
            names = self.models.names
            known = ", ".join(f"'{other}'" for other in names[:5])
            fix = did_you_mean(str(name)[:100], names, f"the models are listed at /models: {known}")
            raise refuse(404, "the name of a model", f"'{str(name)[:100]}'", fix)
        return served

    def _body(self, request: Request) -> _Body:
        """Return the body of a request, to be read with `async with`."""
        return _Body(self, request, self.limits)

    async def _in_thread(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


class _Body:
    """Reads the body of a request; its bytes count as in flight until it is answered."""

    def __init__(self, application: Application, request: Request, limits: Limits) -> None:
        self._application = application
        self._request = request
        self._limits = limits
        self._size = 0

    async def __aenter__(self) -> bytes:
        try:
            return await self._read()
        except BaseException:
            self._application.bytes_in_flight -= self._size
            raise

    async def __aexit__(self, *_: object) -> None:
        self._application.bytes_in_flight -= self._size

    async def _read(self) -> bytes:
        limit, headers = self._limits.max_body_bytes, self._request.headers
        fix = "send it in parts, or start trainer serve with a larger --max-body"
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise refuse(413, f"a body of at most {limit:,} bytes", f"{int(declared):,}", fix)
        if headers.get("content-encoding", "identity") != "identity":
            raise refuse(415, "a body without compression", "a Content-Encoding", "remove it")
        chunks: list[bytes] = []
        while True:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            chunks.append(chunk)
            self._size += len(chunk)
            self._application.bytes_in_flight += len(chunk)
            if self._size > limit:
                raise refuse(413, f"a body of at most {limit:,} bytes", "more", fix)
            if self._application.bytes_in_flight > self._limits.max_bytes_in_flight:
                found = "too many large requests at the same time"
                raise refuse(503, "memory for the body", found, "try again later")
            if not message.get("more_body", False):
                return b"".join(chunks)


def _one_row(table: Table) -> Table:
    columns = {name: list(values) for name, values in table.columns.items()}
    return Table(columns, 1, "object")


def _route(path: str) -> str:
    last = path.rsplit("/", 1)[-1]
    if last in ("predict", "explain", "schema", "health", "ready", "metrics"):
        return last
    return "page" if path == "/" else "other"


def _ignores_unknown(request: Request) -> bool:
    for name in request.query_params:
        if name != "unknown":
            raise refuse(422, "no parameter besides unknown", f"'{name[:60]}'")
    value = request.query_params.get("unknown", "error")
    if value not in ("error", "ignore"):
        raise refuse(422, "unknown=ignore or unknown=error", f"unknown={value[:60]}")
    return value == "ignore"


def _accepted_form(request: Request) -> Form | None:
    """Return the form of the response that the header Accept names; None for that of the request."""
    accepted = request.headers.get("accept")
    if accepted is None or accepted == "*/*":
        return None
    kinds = accepted_types(accepted)
    sent = media_type(request.headers.get("content-type", ""))
    if sent in kinds:
        return None
    if CSV_TYPE in kinds:
        return "csv"
    if any(kind in ARROW_TYPES for kind in kinds):
        return "arrow"
    if JSON_TYPE in kinds and sent in (CSV_TYPE, *ARROW_TYPES):
        return "objects"
    return None


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def unauthorized() -> Response:
    """Return the response to a request without the token."""
    fix = "send the header Authorization: Bearer TOKEN"
    body = error_body("the token of the server", "none, or another one", fix)
    return Response(body, 401, {"www-authenticate": "Bearer"}, JSON_TYPE)


def error_response(error: RequestError) -> Response:
    """Return the response to a request that is refused."""
    headers = {"retry-after": "1"} if error.status == 503 else None
    return Response(error.body(), error.status, headers, JSON_TYPE)


async def _request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    fix = "GET /schema describes the requests"
    found = f"{request.method} {request.url.path[:200]}"
    expected = "a path of the server" if error.status_code == 404 else "another method"
    body = error_body(expected, found, fix)
    return Response(body, error.status_code, dict(error.headers or {}), JSON_TYPE)


async def _disconnected(_: Request, __: Exception) -> Response:
    return Response(status_code=400)


async def _bug(request: Request, error: Exception) -> Response:
    return bug_response(request.method, request.url.path, error)


def bug_response(method: str, path: str, error: Exception) -> Response:
    """Report a bug in the log, without the content of the request."""
    LOG.error(
        "this is a bug in trainer (%s %s):\n%s",
        method,
        path[:200],
        "".join(traceback.format_exception(error)),
    )
    fix = "the log of the server has the reason"
    body = error_body("a response", f"a bug in trainer ({type(error).__name__})", fix)
    return Response(body, 500, media_type=JSON_TYPE)
