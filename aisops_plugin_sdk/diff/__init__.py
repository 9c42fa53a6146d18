"""Finds what changed between two versions of a plugin, and whom it breaks. Pure: manifests in, findings out.

    findings = compare(Manifest.parse(old), Manifest.parse(new))
    refused = [finding for finding in findings if finding.breaking]

`aisops-plugin diff` shows them to authors; a Runner asks before it upgrades a plugin.
"""

from aisops_plugin_sdk.diff.finding import Finding
from aisops_plugin_sdk.diff.manifests import compare

__all__ = ["Finding", "compare"]
