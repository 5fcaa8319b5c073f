"""A stand-in for the `orthanc` module for branches that a real server cannot be brought to.

It fails loudly: a function that a test did not allow raises, so that no test passes because a call went nowhere.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

ENUMERATIONS: dict[str, dict[str, int]] = {
    "ChangeType": {
        "ORTHANC_STARTED": 10,
        "ORTHANC_STOPPED": 11,
        "UPDATED_MODALITIES": 15,
        "JOB_SUBMITTED": 16,
        "JOB_SUCCESS": 17,
        "JOB_FAILURE": 18,
    },
    "InstanceOrigin": {"UNKNOWN": 1, "DICOM_PROTOCOL": 2, "REST_API": 3, "PLUGIN": 4, "LUA": 5, "WEB_DAV": 6},
    "ReceivedInstanceAction": {"KEEP_AS_IS": 1, "MODIFY": 2, "DISCARD": 3},
    "MetricsType": {"DEFAULT": 0},
    "ContentType": {"UNKNOWN": 0, "DICOM": 1, "DICOM_UNTIL_PIXEL_DATA": 3},
}
FUNCTIONS = (
    "GenerateRestApiAuthorizationToken",
    "GetCommandLineArgument",
    "GetCommandLineArgumentsCount",
    "GetConfiguration",
    "GetConfigurationPath",
    "LogInfo",
    "LogWarning",
    "LogError",
    "SetMetricsValue",
    "ExtendOrthancExplorer",
    "RegisterIncomingHttpRequestFilter",
    "RegisterOnChangeCallback",
    "RegisterOnStoredInstanceCallback",
    "RegisterReceivedInstanceCallback",
    "RegisterRestCallback",
    "RegisterStorageArea",
)


class UnexpectedCallError(AssertionError):
    """The code under test called a function of the SDK that its test did not allow."""


class StubOrthanc(ModuleType):
    """The SDK with `allowed` functions recorded and every other one raising.

    Args:
        allowed: names of functions that may be called; a mapping gives what they return.
        lacking: names that this SDK does not have at all, as an older plugin's.
    """

    def __init__(self, *allowed: str, lacking: tuple[str, ...] = (), **returns: Any) -> None:
        super().__init__("orthanc")
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        for name, values in ENUMERATIONS.items():
            setattr(self, name, SimpleNamespace(**values))
        for name in FUNCTIONS:
            if name not in lacking:
                setattr(self, name, self._function(name, name in allowed or name in returns, returns.get(name)))

    def _function(self, name: str, allowed: bool, result: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if not allowed:
                raise UnexpectedCallError(f"orthanc.{name}{arguments!r} was not allowed by this test")
            self.calls.append((name, arguments))
            return result

        return call

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of `name`, in order."""
        return [arguments for called, arguments in self.calls if called == name]


class StubOutput:
    """orthanc.RestOutput that keeps the one answer it was given.

    Args:
        wants_length: as Python plugin 4.0 does; later ones take the body alone.
    """

    def __init__(self, *, wants_length: bool = True) -> None:
        self.wants_length = wants_length
        self.answer: tuple[Any, ...] | None = None
        self.headers: dict[str, str] = {}

    def AnswerBuffer(self, body: bytes, media_type: str) -> None:
        self.answer = (200, body, media_type)

    def SendMethodNotAllowed(self, allowed: str) -> None:
        self.answer = (405, allowed)

    def SetHttpHeader(self, name: str, value: str) -> None:
        self.headers[name] = value

    def SendHttpStatus(self, status: int, body: str, *body_bytes: int) -> None:
        if len(body_bytes) != self.wants_length:
            raise TypeError(f"Bad types for the arguments ({2 + self.wants_length} arguments expected)")
        assert not body_bytes or len(body.encode()) == body_bytes[0]
        self.answer = (status, body)
