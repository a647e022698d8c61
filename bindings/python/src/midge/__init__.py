"""Midge: an MQTT broker inside your program.

>>> import midge
>>> with midge.Broker("127.0.0.1:0") as broker:
...     with broker.subscribe("sensors/+/temp", qos=1) as messages:
...         broker.publish("sensors/a/temp", "21.5", qos=1)
...         print(messages.get(timeout=1).payload)
1
b'21.5'
"""

from midge._interpreter import refuse_subinterpreters

refuse_subinterpreters()  # before ctypes is imported, which says less clearly what is wrong

from midge._broker import Broker
from midge._config import Config, Value
from midge._errors import (
    AddressInUse,
    ArgumentError,
    ConfigError,
    ForkedError,
    IoError,
    MidgeError,
    StateError,
    Stopped,
    Timeout,
    TopicError,
    UnknownKey,
)
from midge._hooks import Hooks, Verdict
from midge._library import version
from midge._message import Message, Properties
from midge._publish import Payload
from midge._requests import (
    AccessRequest,
    Connected,
    ConnectRequest,
    Decision,
    Delivered,
    Disconnected,
    Dropped,
    PublishRequest,
)
from midge._subscription import Handler, Subscription
from midge._types import Overflow, PublishProperties, QoS, RetainHandling, SubscribeOptions
from midge._views import Client, ClientCertificate, Listener, Stats, StorageStats, SubscriptionInfo, TlsIdentity

__version__ = version()

__all__ = [
    "AccessRequest",
    "AddressInUse",
    "ArgumentError",
    "Broker",
    "Client",
    "ClientCertificate",
    "Config",
    "ConfigError",
    "ConnectRequest",
    "Connected",
    "Decision",
    "Delivered",
    "Disconnected",
    "Dropped",
    "ForkedError",
    "Handler",
    "Hooks",
    "IoError",
    "Listener",
    "Message",
    "MidgeError",
    "Overflow",
    "Payload",
    "Properties",
    "PublishProperties",
    "PublishRequest",
    "QoS",
    "RetainHandling",
    "StateError",
    "Stats",
    "Stopped",
    "StorageStats",
    "SubscribeOptions",
    "Subscription",
    "SubscriptionInfo",
    "Timeout",
    "TlsIdentity",
    "TopicError",
    "UnknownKey",
    "Value",
    "Verdict",
]
