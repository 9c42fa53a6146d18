"""What the operator sets for Slack."""

from typing import Annotated

from pydantic import AfterValidator, Field

from aisops_plugin_sdk import Config, Secret
from aisops_plugin_sdk.outbound import base_url


class SlackConfig(Config):
    """Environment of the Slack plugin."""

    token: Secret = Field(alias="SLACK_BOT_TOKEN", description="Bot token with the scope chat:write")
    api_base_url: Annotated[str, AfterValidator(base_url)] = Field(
        "https://slack.com/api",
        alias="SLACK_API_BASE_URL",
        description="Address of the Web API; plain http on loopback only",
    )
    timeout_s: float = Field(
        15.0, alias="SLACK_TIMEOUT_S", gt=0, le=60, description="Longest wait for one answer of Slack, in seconds"
    )
    allow_broadcast: bool = Field(
        default=False,
        alias="SLACK_ALLOW_BROADCAST",
        description="Let messages notify everybody by `@here`, `@channel` and `@everyone`",
    )
    signing_secret: Secret | None = Field(
        None, alias="SLACK_SIGNING_SECRET", description="Signing secret of the app, for requests that come from Slack"
    )
    ca_file: str = Field(
        "", alias="SLACK_CA_FILE", description="PEM file of authorities to trust instead of the system's"
    )
