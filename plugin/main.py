"""The "PythonScript" of orthanc.json: finds the libraries, reads the configuration, registers the bundle."""

import sys
from pathlib import Path

import orthanc

BUNDLE = Path(__file__).resolve().parents[1]
if str(BUNDLE) not in sys.path:
    sys.path.insert(0, str(BUNDLE))

from plugin import environment  # noqa: E402 - found only once the bundle is on the path


def load() -> str:
    """Loads and registers the bundle.

    Returns:
        Empty, or the one line that says why Orthanc must not start.
    """
    try:
        environment.activate(BUNDLE)
        # These need the libraries.
        from deferred_delete import DeferredDeleteError
        from plugin import logs
        from plugin.bundle import Bundle
        from plugin.config import configuration_folder, parse
        from plugin.index import IndexUnreadableError
        from plugin.validation import ConfigurationError
        from support.one_line import one_line
    except (environment.EnvironmentRefusedError, ImportError) as error:
        return str(error)
    logs.install(orthanc)
    try:
        arguments = [orthanc.GetCommandLineArgument(index) for index in range(orthanc.GetCommandLineArgumentsCount())]
        folder = configuration_folder(orthanc.GetConfigurationPath(), arguments)
        Bundle(orthanc, parse(orthanc.GetConfiguration(), folder)).register()
    except (ConfigurationError, DeferredDeleteError, IndexUnreadableError, OSError, RuntimeError) as error:
        return one_line(error)
    return ""


refusal = load()
if refusal:
    orthanc.LogError(f"The ingest bundle refuses to start: {refusal}")
    # Any exception here stops the start of Orthanc, which is better than a start with half of the configuration.
    raise SystemExit(refusal)
