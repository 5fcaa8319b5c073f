"""The names of Orthanc's Python SDK that the bundle uses, typed. tests/integration/test_sdk.py holds them against a live server.

Enumerations of the SDK are plain classes with integer attributes; what callbacks receive are integers as well.
"""

from collections.abc import Callable

class ChangeType:
    ORTHANC_STARTED: int
    ORTHANC_STOPPED: int
    JOB_SUBMITTED: int
    JOB_SUCCESS: int
    JOB_FAILURE: int

class InstanceOrigin:
    UNKNOWN: int
    DICOM_PROTOCOL: int
    REST_API: int
    PLUGIN: int
    LUA: int
    WEB_DAV: int

class ReceivedInstanceAction:
    KEEP_AS_IS: int
    MODIFY: int
    DISCARD: int

class ContentType:
    UNKNOWN: int
    DICOM: int
    DICOM_UNTIL_PIXEL_DATA: int

class DicomInstance: ...

class RestOutput:
    def AnswerBuffer(self, answer: bytes | str, mime_type: str, /) -> None: ...
    def SendMethodNotAllowed(self, allowed: str, /) -> None: ...
    def SendHttpStatusCode(self, status: int, /) -> None: ...

def GetCommandLineArgument(index: int, /) -> str: ...
def GetCommandLineArgumentsCount() -> int: ...
def GetConfiguration() -> str: ...
def GetConfigurationPath() -> str: ...
def LogInfo(message: str, /) -> None: ...
def LogWarning(message: str, /) -> None: ...
def LogError(message: str, /) -> None: ...
def ExtendOrthancExplorer(javascript: str, /) -> None: ...
def RegisterOnChangeCallback(callback: Callable[[int, int, str], None], /) -> None: ...
def RegisterOnStoredInstanceCallback(callback: Callable[[DicomInstance, str], None], /) -> None: ...
def RegisterReceivedInstanceCallback(callback: Callable[[bytes, int], tuple[int, bytes | None]], /) -> None: ...
def RegisterRestCallback(path: str, callback: Callable[..., None], /) -> None: ...
def RegisterStorageArea(
    create: Callable[[str, int, bytes], None],
    read: Callable[[str, int], bytes],
    remove: Callable[[str, int], None],
    /,
) -> None: ...

# Absent before Orthanc 1.11.1's SDK: asked for with getattr.
def GetDatabaseServerIdentifier() -> str: ...
