"""What the operator sets for e-mail. The names of the original product are kept: SMTP_HOST, _PORT, _USER, _PASS."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from aisops_plugin_email.addresses import Mailbox, mailbox
from aisops_plugin_sdk import Config, Secret
from aisops_plugin_sdk.addresses import is_loopback

IMPLICIT_TLS_PORT = 465


class Protection(StrEnum):
    """How the connection is protected."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


def _sender(text: str) -> str:
    mailbox(text)
    return text


class EmailConfig(Config):
    """Environment of the e-mail plugin."""

    host: str = Field(alias="SMTP_HOST", min_length=1, description="Name or address of the mail server")
    port: int = Field(587, alias="SMTP_PORT", ge=1, le=65_535, description="Its port; 465 means TLS from the start")
    user: str = Field(
        "", alias="SMTP_USER", description="Account to log in with; set together with SMTP_PASS or not at all"
    )
    password: Secret | None = Field(None, alias="SMTP_PASS", description="Password of the account")
    sender: Annotated[str, AfterValidator(_sender)] = Field(
        "aisopsflow@localhost",
        alias="SMTP_FROM",
        description="Sender, such as `Ops <ops@example.com>`; SMTP_USER where that is an address",
    )
    tls: Literal["auto", "starttls", "tls", "none"] = Field(
        "auto",
        alias="SMTP_TLS",
        description="auto: TLS on port 465, none on loopback, else STARTTLS, without which nothing is sent",
    )
    ca_file: str = Field(
        "", alias="SMTP_CA_FILE", description="PEM file of authorities to trust instead of the system's"
    )
    helo_name: str = Field(
        "",
        alias="SMTP_HELO_NAME",
        pattern=r"^[A-Za-z0-9.:\[\]-]{0,255}$",
        description="Name to greet the server with; empty asks the system, which may need its name service",
    )
    default_subject: str = Field(
        "AIsOpsFlow notification",
        alias="SMTP_DEFAULT_SUBJECT",
        min_length=1,
        description="Subject where none is given",
    )
    timeout_s: float = Field(
        30.0, alias="SMTP_TIMEOUT_S", gt=0, le=120, description="Longest time for one whole delivery, in seconds"
    )

    @model_validator(mode="before")
    @classmethod
    def _sender_from_user(cls, given: dict[str, object]) -> dict[str, object]:
        """As in the original product, the account is the sender where no sender is set."""
        user = given.get("SMTP_USER")
        if "SMTP_FROM" not in given and isinstance(user, str) and "@" in user:
            return {**given, "SMTP_FROM": user}
        return given

    @model_validator(mode="after")
    def _password_has_user(self) -> Self:
        if (self.password is not None) != bool(self.user):
            raise ValueError("SMTP_USER and SMTP_PASS are set together or not at all")
        return self

    @property
    def protection(self) -> Protection:
        """How the connection is to be protected."""
        match self.tls:
            case "tls":
                return Protection.IMPLICIT
            case "starttls":
                return Protection.STARTTLS
            case "none":
                return Protection.NONE
        if self.port == IMPLICIT_TLS_PORT:
            return Protection.IMPLICIT
        return Protection.NONE if is_loopback(self.host) else Protection.STARTTLS

    @property
    def mailbox(self) -> Mailbox:
        """The sender."""
        return mailbox(self.sender)
