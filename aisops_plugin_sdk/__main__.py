"""`python -m aisops_plugin_sdk serve|describe NAME`: how the Runner starts a sidecar and reads a manifest."""

import gc
import os
import sys

USAGE = "usage: python -m aisops_plugin_sdk serve|describe NAME"


def main(arguments: list[str]) -> int:
    """Run one command. Returns the exit code: 0 ok, 1 failed, 2 wrong usage.

    There is no option and no parser on purpose: every millisecond here is paid at every start of every sidecar.
    """
    if os.environ.get("AISOPS_LIFELINE") == "stdin":
        # Before vendor code is imported: an import that hangs must not outlive the Runner that started it.
        from aisops_plugin_sdk.process.lifeline import signal_on_parent_death

        signal_on_parent_death()
    match arguments:
        case ["serve", name]:
            # Imports make tens of thousands of objects that stay: to look through them again and again took a seventh
            # of the time to the ready line. `serve` switches it on again.
            gc.disable()
            from aisops_plugin_sdk.process.serve import serve

            return serve(name)
        case ["describe", name]:
            from aisops_plugin_sdk.process.describe import describe

            return describe(name)
        case _:
            print(USAGE, file=sys.stderr)  # noqa: T201 - this is the command line
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
