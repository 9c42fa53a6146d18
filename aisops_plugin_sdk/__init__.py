"""Write plugins for AIsOpsFlow. This is the whole public face; the names below are kept, everything else may move.

The test kit is `aisops_plugin_sdk.testing`.
"""

from aisops_plugin_sdk.config import Config
from aisops_plugin_sdk.context import Context
from aisops_plugin_sdk.delivery import Delivery, RecipientResult
from aisops_plugin_sdk.errors import (
    Ambiguous,
    Conflict,
    DefinitionError,
    Detail,
    InvalidRequest,
    NotConfigured,
    Permanent,
    PluginError,
    ProviderError,
    RateLimited,
    SdkError,
    Transient,
    Unauthorized,
)
from aisops_plugin_sdk.http_client import Http
from aisops_plugin_sdk.plugin import Plugin
from aisops_plugin_sdk.responses import Response
from aisops_plugin_sdk.secret import Secret
from aisops_plugin_sdk.verifiers import slack_signature
from aisops_plugin_sdk.version import SDK_VERSION
from aisops_plugin_sdk.webhooks import Inbound, WebhookReply, WebhookRequest

__version__ = SDK_VERSION

__all__ = [
    "Plugin",
    "Config",
    "Secret",
    "Context",
    "Http",
    "Response",
    "Inbound",
    "WebhookRequest",
    "WebhookReply",
    "slack_signature",
    "Delivery",
    "RecipientResult",
    "PluginError",
    "InvalidRequest",
    "Unauthorized",
    "NotConfigured",
    "Conflict",
    "RateLimited",
    "ProviderError",
    "Transient",
    "Permanent",
    "Ambiguous",
    "Detail",
    "SdkError",
    "DefinitionError",
    "__version__",
]
