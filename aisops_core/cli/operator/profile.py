"""Where the client finds Core and its token: options, then the environment, then the profile file `login` wrote."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aisops_core.cli.failure import REFUSED, Failure

LOGIN_ADVICE = "Run `aisops login URL --token-file FILE`, or set AISOPS_URL and AISOPS_TOKEN."
REFUSED_ADVICE = (
    "Log in with an API token (aisops_api_…): Core's first start shows one, and where Core's data is"
    " `aisops-core token create --data DIR --name YOU` makes another."
)
MAX_FILE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Profile:
    """One Core and the token for it."""

    url: str
    token: str
    ca_file: str = ""
    allow_plaintext: bool = False

    def __repr__(self) -> str:
        return f"Profile(url={self.url!r})"


def profile_path(environment: Mapping[str, str]) -> Path:
    """Return the profile file: AISOPS_CONFIG, else `aisops/profile.json` under the XDG configuration folder."""
    if chosen := environment.get("AISOPS_CONFIG"):
        return Path(chosen)
    base = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "aisops" / "profile.json"


def check_url(url: str) -> str:
    """Return the address without a trailing slash. Raises Failure when it is not http(s)://host[:port]."""
    parts = urlsplit(url)
    try:
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise Failure(
            f"{url!r} is not the address of a Core.",
            advice="Write it like https://core.example.com or http://127.0.0.1:8080.",
            exit_code=REFUSED,
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether the address cannot leave this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(source: str) -> str:
    """Return the token in a file, or on standard input for `-`. Raises Failure; never quotes what it read."""
    try:
        if source == "-":
            text = sys.stdin.read(MAX_FILE_BYTES)
        else:
            with Path(source).open(encoding="utf-8") as file:
                text = file.read(MAX_FILE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Failure(f"Cannot read the token from {source}: {reason}.", exit_code=REFUSED) from None
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        where = "Standard input" if source == "-" else source
        raise Failure(
            f"{where} does not hold a token.", advice="It must hold one line: aisops_api_…", exit_code=REFUSED
        )
    return token


def save(profile: Profile, path: Path) -> None:
    """Write the profile with mode 0600, whole or not at all. Raises Failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(profile), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Failure(f"Cannot write {path}: {error.strerror}.", exit_code=REFUSED) from None


def load(path: Path) -> Profile | None:
    """Return the saved profile, None when there is none. Raises Failure when it cannot be used."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Profile(
            url=str(document["url"]),
            token=str(document["token"]),
            ca_file=str(document.get("ca_file", "")),
            allow_plaintext=document.get("allow_plaintext") is True,
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Failure(f"The profile file {path} cannot be used.", advice=LOGIN_ADVICE, exit_code=REFUSED) from None


def resolve(environment: Mapping[str, str], url: str | None = None, token_file: str | None = None) -> Profile:
    """Return where to go and as whom. Raises Failure when something is missing or would send the token in the clear."""
    saved = load(profile_path(environment))
    address = url or environment.get("AISOPS_URL") or (saved.url if saved else "")
    if not address:
        raise Failure("It is not known where Core is.", advice=LOGIN_ADVICE, exit_code=REFUSED)
    address = check_url(address)
    # A saved token belongs to the saved address; it is never sent to another.
    own = saved if saved is not None and saved.url == address else None
    profile = Profile(
        url=address,
        token=_token(environment, token_file, own),
        ca_file=environment.get("AISOPS_CA_FILE") or (own.ca_file if own else ""),
        allow_plaintext=environment.get("AISOPS_ALLOW_PLAINTEXT") == "1" or bool(own and own.allow_plaintext),
    )
    refuse_plaintext(profile)
    return profile


def _token(environment: Mapping[str, str], token_file: str | None, saved: Profile | None) -> str:
    if token_file:
        return read_token(token_file)
    if token := environment.get("AISOPS_TOKEN", "").strip():
        return token
    if path := environment.get("AISOPS_TOKEN_FILE"):
        return read_token(path)
    if saved is not None:
        return saved.token
    raise Failure("There is no token for this Core.", advice=LOGIN_ADVICE, exit_code=REFUSED)


def refuse_plaintext(profile: Profile) -> None:
    """Raise Failure when the token would cross a network unencrypted without that being asked for."""
    if profile.url.startswith("http://") and not is_loopback(profile.url) and not profile.allow_plaintext:
        raise Failure(
            f"{profile.url} is not encrypted: the token could be read on the way.",
            advice="Use https://, or ask for it by name: `aisops login --allow-plaintext` or AISOPS_ALLOW_PLAINTEXT=1.",
            exit_code=REFUSED,
        )
