"""`describe`: print a plugin's manifest as one JSON line."""

from aisops_plugin_sdk.errors import LoadFailed, ManifestError
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.process.loading import load_plugin
from aisops_plugin_sdk.process.stdout import ContractOutput

OK = 0
FAILED = 1


def describe(name: str) -> int:
    """Print the manifest of the named plugin on the real stdout, or `{"ok":false,"error":…,"code":…}`.

    Config is not read, so a plugin describes itself before anybody configured it.

    Returns:
        The exit code: 0, or 1 when it cannot be loaded or its manifest is not acceptable.
    """
    output = ContractOutput()
    try:
        manifest = load_plugin(name).manifest()
        document = manifest.to_document()
        Manifest.parse(document)
    except (LoadFailed, ManifestError) as error:
        output.line({"ok": False, **error.diagnostics()})
        return FAILED
    else:
        output.line(document)
        return OK
    finally:
        output.close()
