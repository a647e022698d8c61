"""Midge in an asyncio program.

>>> async def main() -> None:
...     async with midge.aio.Broker("127.0.0.1:0") as broker:
...         async with broker.subscribe("sensors/+/temp", qos=1) as messages:
...             broker.publish("sensors/a/temp", "21.5", qos=1)
...             print((await messages.get()).payload)
>>> asyncio.run(main())
b'21.5'

The names are those of midge.Broker. All subscriptions of a broker share one queue, whose file descriptor the event
loop watches: no thread waits, however many there are. As with all of asyncio, only the loop's own thread may use what
is in here, except `publish`, `publish_many` and what only looks.
"""

from midge._aio import Broker, Handler, Subscription

__all__ = ["Broker", "Handler", "Subscription"]
