"""The common answer of channel capabilities: what happened to a message, for all and per recipient."""

from typing import Literal

from pydantic import BaseModel, Field

DeliveryStatus = Literal["accepted", "delivered", "failed", "ambiguous", "duplicate", "deferred"]


class RecipientResult(BaseModel):
    """What happened for one recipient. `code` is the provider's own when it refused."""

    to: str
    status: DeliveryStatus
    code: str = ""
    message: str = ""


class Delivery(BaseModel):
    """The result of a channel capability.

    Attributes:
        status: accepted (the provider took it), delivered (it confirmed), failed (every recipient refused), ambiguous,
            duplicate (the provider knew the message already), deferred (it will send later).
        provider: who took the message.
        message_id: the provider's id of it; empty when it gives none.
        refs: further references a person may search for at the provider.
        per_recipient: filled where one message has several recipients.
    """

    status: DeliveryStatus = "accepted"
    provider: str
    message_id: str = ""
    refs: dict[str, str] = Field(default_factory=dict)
    per_recipient: list[RecipientResult] = Field(default_factory=list)
