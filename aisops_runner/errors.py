"""Errors of the Runner: one tree, each with a stable code and facts for the operator.

Nothing is imported here, so every layer may raise these. They are mapped to exit codes in `cli` only.
"""

from __future__ import annotations


class RunnerError(Exception):
    """Base of everything the Runner raises on purpose.

    Attributes:
        code: Stable machine-readable name of the fault.
        message: One line for people: what happened and what to do next; never holds a secret.
    """

    code = "runner_error"

    def __init__(self, message: str, *, code: str = "") -> None:
        """Keep the line for people; `code` overrides the class's own."""
        super().__init__(message)
        self.message = message
        if code:
            self.code = code

    def diagnostics(self) -> dict[str, str]:
        """Facts for a log line or a JSON answer."""
        return {"code": self.code, "message": self.message}


class ConfigInvalid(RunnerError):
    """The configuration cannot be used; retrying without a change is useless (exit code 78).

    Attributes:
        key: The setting at fault, dotted (`plugins.slack.max_concurrency`); empty when the file itself is unreadable.
        source: The file or environment variable it came from.
    """

    code = "config_invalid"

    def __init__(self, message: str, *, key: str = "", source: str = "", code: str = "") -> None:
        """Say which key of which file is wrong, and why."""
        place = ": ".join(part for part in (source, key) if part)
        super().__init__(f"{place}: {message}" if place else message, code=code)
        self.key = key
        self.source = source

    def diagnostics(self) -> dict[str, str]:
        """Facts for a log line or a JSON answer."""
        return {**super().diagnostics(), "key": self.key, "source": self.source}


class RefusedForGood(RunnerError):
    """Core refused this Runner and will again until somebody changes something (exit code 78)."""

    code = "refused"


class _OfPlugin(RunnerError):
    """Something about one plugin, or about the package that was to bring one."""

    def __init__(self, plugin: str, message: str, *, code: str = "") -> None:
        """Name the plugin."""
        super().__init__(message, code=code)
        self.plugin = plugin

    def diagnostics(self) -> dict[str, str]:
        """Facts for a log line or a JSON answer."""
        return {**super().diagnostics(), "plugin": self.plugin}


class PluginBroken(_OfPlugin):
    """A plugin cannot be used: it does not import, does not describe itself, or contradicts itself."""

    code = "plugin_broken"


class PluginRefused(_OfPlugin):
    """A plugin is not installed, changed or removed as asked, and will not be until somebody changes something."""

    code = "plugin_refused"


class InstallFailed(RunnerError):
    """An installer did not do its work: no network, no such version, no room. What was in use before still is."""

    code = "install_failed"


class CommandsBusy(RunnerError):
    """Another command is changing the installed plugins."""

    code = "plugin_commands_busy"


class RegistryDamaged(RunnerError):
    """What says which plugins are installed cannot be read; nothing is guessed."""

    code = "registry_damaged"


class SidecarStartFailed(RunnerError):
    """A sidecar process could not be brought to its ready line."""

    code = "sidecar_start_failed"


class SecretUnavailable(RunnerError):
    """A secret reference (`env:NAME`, `file:/path`) could not be read; the message never holds a value."""

    code = "secret_unavailable"


class PolicyDenied(RunnerError):
    """The Runner's own local policy forbids the call; nothing left this machine."""

    code = "policy_denied"


class DataDirUnusable(ConfigInvalid):
    """The data directory cannot be used: missing, read-only, or held by another Runner (exit code 78)."""

    code = "data_dir_unusable"


class StorageFailed(RunnerError):
    """The disk refused a read or a write: full, damaged or failing. Nothing was acknowledged that is not stored."""

    code = "storage_failed"


class EnvelopeTooLarge(RunnerError):
    """A message would not fit in one frame, so it is refused before it is stored."""

    code = "envelope_too_large"


class UplinkLost(RunnerError):
    """A stream to Core could not be opened, was refused, or ended.

    Attributes:
        reason: Typed reason: Core's own (`REVOKED`, `OVERLOADED`…) or the dialer's (`tls_untrusted`, `refused`…).
        retry_after_s: Seconds Core or the fault itself asks to wait; 0 leaves it to the back-off.
        permanent: True when trying again soon is useless until somebody changes something.
    """

    code = "uplink_lost"

    def __init__(self, message: str, *, reason: str, retry_after_s: float = 0.0, permanent: bool = False) -> None:
        """Keep the typed reason beside the sentence for people."""
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.permanent = permanent

    def diagnostics(self) -> dict[str, str]:
        """Facts for a log line or a JSON answer."""
        return {**super().diagnostics(), "reason": self.reason}
