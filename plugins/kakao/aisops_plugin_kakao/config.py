"""What the operator sets for Kakao: providers with their keys and approved templates, in one JSON variable."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, model_validator

from aisops_plugin_sdk import Config, Secret
from aisops_plugin_sdk.outbound import base_url


class KakaoTemplate(BaseModel):
    """An approved template. `message` and button values may hold `#{name}` and `{{name}}` variables."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    template_code: str = Field(min_length=1, max_length=30)
    message: str = Field(min_length=1)
    title: str = ""
    buttons: tuple[dict[str, str], ...] = ()
    sender_key: Secret | None = None
    sender_no: str = ""


class KakaoProvider(BaseModel):
    """One account at a BizMessage v2 host."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Annotated[str, AfterValidator(base_url)]
    access_token: Secret | None = None
    client_id: str = ""
    client_secret: Secret | None = None
    auth_style: Literal["space", "base64"] = "space"
    sender_key: Secret
    sender_no: str = ""
    templates: dict[str, KakaoTemplate]

    @model_validator(mode="after")
    def _can_authenticate(self) -> Self:
        if self.access_token is None and (not self.client_id or self.client_secret is None):
            raise ValueError("needs access_token, or client_id and client_secret")
        return self


class KakaoConfig(Config):
    """Environment of the Kakao plugin."""

    providers: Json[dict[str, KakaoProvider]] = Field(
        alias="KAKAO_BIZ_PROVIDERS_JSON", description="Accounts by id, in the original product's form (below)"
    )
    default_provider: str = Field(
        "", alias="KAKAO_DEFAULT_PROVIDER", description="Account of calls that name none, such as `{target, text}`"
    )
    default_template: str = Field(
        "", alias="KAKAO_DEFAULT_TEMPLATE", description="Template of calls that name none, such as `{target, text}`"
    )
    text_variable: str = Field(
        "text", alias="KAKAO_TEXT_VARIABLE", min_length=1, description="Template variable that a call's `text` fills"
    )
    timeout_s: float = Field(
        15.0,
        alias="KAKAO_TIMEOUT_S",
        gt=0,
        le=60,
        description="Longest wait for one answer, in seconds",
    )
    ca_file: str = Field(
        "", alias="KAKAO_CA_FILE", description="PEM file of authorities to trust instead of the system's"
    )
