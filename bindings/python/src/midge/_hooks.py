"""Hooks: functions of this program that decide for a broker, and that it tells what happens."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import inspect
import logging
import threading
import weakref
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union, cast

from midge import _ffi
from midge._errors import ArgumentError, StateError
from midge._library import inside, quick
from midge._numbers import Numbers
from midge._requests import (
    AccessRequest,
    Connected,
    ConnectRequest,
    Decision,
    Delivered,
    Disconnected,
    Dropped,
    PublishRequest,
    read_access_request,
    read_connect_request,
    read_connected,
    read_delivered,
    read_disconnected,
    read_dropped,
    read_publish_request,
)
from midge._views import SubscriptionInfo, read_subscription

if TYPE_CHECKING:
    import asyncio

__all__ = ["Hooks", "Verdict"]

Verdict = Union[bool, int, Decision]
"""True allows, False denies, a reason code of MQTT 5 (0x80 and above) denies with it, a Decision decides later."""

Answer = Union[Verdict, Awaitable[Verdict]]
"""What a function that decides returns; a coroutine function gives its verdict later."""

Function = TypeVar("Function", bound=Callable[..., Any])
Authenticate = TypeVar("Authenticate", bound=Callable[[ConnectRequest], Answer])
Authorize = TypeVar("Authorize", bound=Callable[[AccessRequest], Answer])
OnPublish = TypeVar("OnPublish", bound=Callable[[PublishRequest], Optional[bool]])
OnConnected = TypeVar("OnConnected", bound=Callable[[Connected], object])
OnDisconnected = TypeVar("OnDisconnected", bound=Callable[[Disconnected], object])
OnSubscription = TypeVar("OnSubscription", bound=Callable[[SubscriptionInfo], object])
OnDelivered = TypeVar("OnDelivered", bound=Callable[[Delivered], object])
OnDropped = TypeVar("OnDropped", bound=Callable[[Dropped], object])

DECISIONS = ("authenticate", "authorize")
NOTICES = ("on_connected", "on_disconnected", "on_subscribed", "on_unsubscribed", "on_delivered", "on_dropped")


class Hooks:
    """Functions that decide for a broker, and that it tells what happens. `midge.Broker(hooks=...)` takes them.

    Each is set by a decorator, before the broker starts; what is not set costs nothing. They run on the broker's
    threads and on threads that publish, so they should be quick; they may publish, subscribe and kick, but not stop
    the broker. One that raises is logged to the logger "midge"; if it was to decide, it denies.

    With midge.aio.Broker all of them but `on_publish` may be coroutine functions, which run in its event loop.

    >>> hooks = midge.Hooks()
    >>> @hooks.authenticate
    ... def let_in(request: midge.ConnectRequest) -> bool:
    ...     return request.username == "tao" and request.password == b"secret"
    >>> @hooks.authorize
    ... def may(request: midge.AccessRequest) -> bool:
    ...     return request.action == "subscribe" or request.topic.startswith(f"users/{request.username}/")
    >>> @hooks.on_disconnected
    ... def gone(event: midge.Disconnected) -> None:
    ...     print(f"{event.client_id} is gone: {event.cause}")
    >>> with midge.Broker("127.0.0.1:0", hooks=hooks) as broker:
    ...     ...
    Ellipsis
    """

    def __init__(self) -> None:
        """No hooks."""
        self._functions: dict[str, Callable[..., Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._used = False

    def authenticate(self, function: Authenticate) -> Authenticate:
        """Decides who is let in: `function(request: ConnectRequest) -> Verdict`."""
        return self._set("authenticate", function)

    def authorize(self, function: Authorize) -> Authorize:
        """Decides who may publish and subscribe to what: `function(request: AccessRequest) -> Verdict`.

        The will of a client is asked about when it connects.
        """
        return self._set("authorize", function)

    def on_publish(self, function: OnPublish) -> OnPublish:
        """Looks at each message of a client before it is published: `function(request: PublishRequest)`.

        It may change the request's topic, payload, qos, retain and properties. If it returns False, the message is
        dropped; the client is acknowledged as if it had been published. Messages of this program pass without.

        >>> hooks = midge.Hooks()
        >>> @hooks.on_publish
        ... def in_kelvin(request: midge.PublishRequest) -> None:
        ...     if request.topic.endswith("/celsius"):
        ...         request.payload = str(float(request.payload) + 273.15)
        """
        return self._set("on_publish", function)

    def on_connected(self, function: OnConnected) -> OnConnected:
        """Is told of a client that was let in: `function(event: Connected)`."""
        return self._set("on_connected", function)

    def on_disconnected(self, function: OnDisconnected) -> OnDisconnected:
        """Is told of a client whose connection has ended: `function(event: Disconnected)`."""
        return self._set("on_disconnected", function)

    def on_subscribed(self, function: OnSubscription) -> OnSubscription:
        """Is told of a subscription of a client: `function(subscription: SubscriptionInfo)`."""
        return self._set("on_subscribed", function)

    def on_unsubscribed(self, function: OnSubscription) -> OnSubscription:
        """Is told of a client that has unsubscribed: `function(subscription: SubscriptionInfo)`.

        Only the filter and the client are told. The end of a session is no unsubscribing.
        """
        return self._set("on_unsubscribed", function)

    def on_delivered(self, function: OnDelivered) -> OnDelivered:
        """Is told of a message that a client has: `function(event: Delivered)`.

        One of QoS 0 was sent to it, another one it has acknowledged.
        """
        return self._set("on_delivered", function)

    def on_dropped(self, function: OnDropped) -> OnDropped:
        """Is told of a message that was dropped, once for each receiver: `function(event: Dropped)`."""
        return self._set("on_dropped", function)

    def __repr__(self) -> str:
        return f"<midge.Hooks: {', '.join(self._functions) or 'none'}>"

    def _set(self, name: str, function: Function) -> Function:
        """Sets a hook."""
        if self._used:
            raise StateError(f"{name}: hooks are set before the broker starts")
        if not callable(function):
            raise TypeError(f"{name}: {function!r} is not callable")
        if name in self._functions:
            raise ArgumentError(f"{name}: is set already, to {self._functions[name]!r}")
        if name == "on_publish" and inspect.iscoroutinefunction(function):
            raise ArgumentError("on_publish: a message does not wait; a coroutine function cannot look at it")
        self._functions[name] = function
        return function

    def _use(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Called before a broker is started with them."""
        for name, function in self._functions.items():
            if loop is None and inspect.iscoroutinefunction(function):
                raise ArgumentError(f"{name}: is a coroutine function, for which midge.aio.Broker has an event loop")
        if loop is not None and self._loop is not None and self._loop is not loop:
            raise StateError("the hooks are in use in another event loop")
        self._loop = loop or self._loop
        self._used = True

    def _run_later(self, name: str, awaitable: Awaitable[Any], done: Callable[[Any], object]) -> None:
        """Has a coroutine run in the event loop, from whatever thread; `done` gets what it returns."""

        async def run() -> None:
            answer: Any = False
            try:
                answer = await awaitable
            except Exception:
                _log(name)
            finally:
                done(answer)

        coroutine = run()
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._begin, coroutine)
        except RuntimeError:
            # The event loop is closed.
            coroutine.close()
            cast("Coroutine[Any, Any, Any]", awaitable).close()
            raise

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)  # the event loop does not keep it
        task.add_done_callback(self._tasks.discard)


_numbers = Numbers()
_in_use: dict[int, Callable[[], Hooks | None]] = {}
"""The hooks of brokers, by number. They are the broker's to keep: what a hook names can be forgotten with both."""


def install(config: ctypes.c_void_p, hooks: Hooks, loop: asyncio.AbstractEventLoop | None) -> int:
    """Sets the hooks of a configuration; returns the number by which `uninstall` ends them."""
    hooks._use(loop)
    number = _numbers.draw()
    view = _ffi.midge_hooks(struct_size=ctypes.sizeof(_ffi.midge_hooks), user_data=number)
    for name in hooks._functions:
        setattr(view, name, _TRAMPOLINES[name])
    _in_use[number] = weakref.ref(hooks)
    status = quick.midge_config_set_hooks(config, ctypes.byref(view))
    if status < 0:
        del _in_use[number]
        raise StateError("the hooks cannot be set")
    return number


def keep(number: int, hooks: Hooks) -> None:
    """Keeps hooks until `uninstall`."""
    _in_use[number] = lambda: hooks


def uninstall(number: int) -> None:
    """No hook is called any more; what would be asked is denied."""
    _in_use.pop(number, None)


def _nothing() -> None:
    """In place of hooks that are gone."""


def _log(name: str) -> None:
    logging.getLogger("midge").exception("the hook %s failed", name)


def _call(number: int | None, name: str, use: Callable[[Hooks, Callable[..., Any]], int]) -> int:
    """Runs a hook; what it raises is logged, and denies. Nothing is raised into the library."""
    thread = threading.get_ident()
    outermost = thread not in inside
    inside.add(thread)
    try:
        hooks = _in_use.get(number or 0, _nothing)()
        return _ffi.MIDGE_DENY if hooks is None else use(hooks, hooks._functions[name])
    except KeyboardInterrupt:
        with contextlib.suppress(BaseException):
            _thread.interrupt_main()  # the main thread raises it again when it is back in Python
    except BaseException:
        with contextlib.suppress(BaseException):
            _log(name)
    finally:
        if outermost:
            inside.discard(thread)
    return _ffi.MIDGE_DENY


def _decide(number: int | None, name: str, request: ConnectRequest | AccessRequest, handle: int | None) -> int:
    """Asks a hook that may decide later."""
    decision = Decision(handle)
    request._decision = decision

    def ask(hooks: Hooks, function: Callable[..., Any]) -> int:
        answer = function(request)
        if inspect.isawaitable(answer):
            hooks._run_later(name, answer, lambda verdict: _decide_later(name, decision, verdict))
            answer = decision
        if answer is decision:
            return _ffi.MIDGE_DEFER
        return _number_of(name, answer)

    answered = _call(number, name, ask)
    if answered != _ffi.MIDGE_DEFER:
        decision._abandon()
    return answered


def _decide_later(name: str, decision: Decision, answer: Any) -> None:
    """Decides as a coroutine has answered."""
    verdict = _ffi.MIDGE_DENY
    try:
        verdict = _number_of(name, answer)
    finally:
        with contextlib.suppress(StateError):  # the coroutine has used the decision itself
            decision._resolve(verdict)


def _number_of(name: str, answer: Any) -> int:
    """An answer as the library takes it."""
    if answer is True:
        return _ffi.MIDGE_ALLOW
    if answer is False:
        return _ffi.MIDGE_DENY
    if isinstance(answer, int) and 0x80 <= answer <= 0xFF:
        return int(answer)
    raise ArgumentError(f"{name}: answered {answer!r}, not True, False, a reason code or its request's decision")


def _tell(number: int | None, name: str, event: Any) -> None:
    """Tells a hook of something."""

    def tell(hooks: Hooks, function: Callable[..., Any]) -> int:
        answer = function(event)
        if inspect.isawaitable(answer):
            hooks._run_later(name, answer, lambda _: None)
        return _ffi.MIDGE_ALLOW

    _call(number, name, tell)


@_ffi.midge_authenticate_fn
def _authenticate(view: int, decision: int | None, number: int | None) -> int:
    return _decide(number, "authenticate", read_connect_request(view), decision)


@_ffi.midge_authorize_fn
def _authorize(view: int, decision: int | None, number: int | None) -> int:
    return _decide(number, "authorize", read_access_request(view), decision)


@_ffi.midge_on_publish_fn
def _on_publish(view: int, edit: int | None, number: int | None) -> int:
    request = read_publish_request(view, edit)

    def look(hooks: Hooks, function: Callable[..., Any]) -> int:
        answer = function(request)
        if answer is None or answer is True:
            return _ffi.MIDGE_ALLOW
        if answer is False:
            return _ffi.MIDGE_DENY
        raise ArgumentError(f"on_publish: answered {answer!r}, not True, False or None")

    try:
        return _call(number, "on_publish", look)
    finally:
        request._edit = None


@_ffi.midge_on_connected_fn
def _on_connected(view: int, number: int | None) -> None:
    _tell(number, "on_connected", read_connected(view))


@_ffi.midge_on_disconnected_fn
def _on_disconnected(view: int, number: int | None) -> None:
    _tell(number, "on_disconnected", read_disconnected(view))


@_ffi.midge_on_subscription_fn
def _on_subscribed(view: int, number: int | None) -> None:
    _tell(number, "on_subscribed", read_subscription(_ffi.midge_subscription_view.from_address(view)))


@_ffi.midge_on_subscription_fn
def _on_unsubscribed(view: int, number: int | None) -> None:
    _tell(number, "on_unsubscribed", read_subscription(_ffi.midge_subscription_view.from_address(view)))


@_ffi.midge_on_delivery_fn
def _on_delivered(view: int, number: int | None) -> None:
    _tell(number, "on_delivered", read_delivered(view))


@_ffi.midge_on_delivery_fn
def _on_dropped(view: int, number: int | None) -> None:
    _tell(number, "on_dropped", read_dropped(view))


_TRAMPOLINES = {
    "authenticate": _authenticate,
    "authorize": _authorize,
    "on_publish": _on_publish,
    "on_connected": _on_connected,
    "on_disconnected": _on_disconnected,
    "on_subscribed": _on_subscribed,
    "on_unsubscribed": _on_unsubscribed,
    "on_delivered": _on_delivered,
    "on_dropped": _on_dropped,
}
"""One thunk for each hook, for the life of the process: none is collected while the library may call it."""
