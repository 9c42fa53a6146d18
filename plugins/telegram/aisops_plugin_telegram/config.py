"""What the operator sets for Telegram."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from aisops_plugin_sdk import Config, Secret
from aisops_plugin_sdk.outbound import base_url

_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,128}")


def _bot_token(token: Secret) -> Secret:
    """The token becomes a part of the path, so nothing that could change the path may stand in it."""
    if not _TOKEN.fullmatch(token.reveal()):
        raise ValueError("must read <digits>:<letters, digits, _ or ->")
    return token


class TelegramConfig(Config):
    """Environment of the Telegram plugin."""

    token: Annotated[Secret, AfterValidator(_bot_token)] = Field(
        alias="TELEGRAM_BOT_TOKEN", description="Bot token from BotFather, `<digits>:<letters>`"
    )
    api_base_url: Annotated[str, AfterValidator(base_url)] = Field(
        "https://api.telegram.org",
        alias="TELEGRAM_API_BASE_URL",
        description="Address of the Bot API server; plain http on loopback only",
    )
    timeout_s: float = Field(
        15.0, alias="TELEGRAM_TIMEOUT_S", gt=0, le=60, description="Longest wait for one answer of Telegram, in seconds"
    )
    ca_file: str = Field(
        "", alias="TELEGRAM_CA_FILE", description="PEM file of authorities to trust instead of the system's"
    )
