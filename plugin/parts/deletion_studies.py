"""DeferredDelete's routes that need Orthanc's REST API: background deletion, restore and audit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from deferred_delete import AuditState, DeletedStudy, RestoreProgress, StudyProgress, StudyService, is_orthanc_id

from .. import rest

_MAX_IDENTIFIERS = 10_000
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)


_T = TypeVar("_T")


class RestoreRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a restore request."""

    study_instance_uid: str = msgspec.field(name="StudyInstanceUID")


class Queued(msgspec.Struct, frozen=True):
    """How many deletions were queued, and in words what will happen."""

    queued: int
    message: str


class RestorableStudies(msgspec.Struct, frozen=True):
    """Deleted studies that can be brought back; ``complete`` once every file that waits has been looked at."""

    complete: bool
    studies: list[DeletedStudy]


class Released(msgspec.Struct, frozen=True):
    """How many files a restore holds no longer."""

    released: int
    message: str


def study_routes(service: StudyService | None, cannot_ask: str) -> list[rest.Route]:
    """The routes. Without a `service` each answers 409 with `cannot_ask`, the reason."""

    def route(
        method: str,
        path: str,
        summary: str,
        action: Callable[[StudyService, rest.Request], _T],
        answer: type[_T],
        *,
        body: Any = None,
    ) -> rest.Route:
        def handler(request: rest.Request) -> _T:
            if service is None:
                raise rest.RefusedError(409, f"not possible: {cannot_ask}")
            return action(service, request)

        return rest.json_route(method, path, summary, handler, answer, body=body)

    identifiers, study, deletions = list[str], RestoreRequest, list[StudyProgress]
    return [
        route("GET", "/deferred-delete/studies", "background deletions", lambda s, _: s.deletions(), deletions),
        route(
            "POST", "/deferred-delete/studies", "delete patients, studies, series", _delete, Queued, body=identifiers
        ),
        route("POST", "/deferred-delete/studies/cancel", "call deletions off", _cancel, deletions, body=identifiers),
        route("GET", "/deferred-delete/studies/deleted", "what can be brought back", _deleted, RestorableStudies),
        route("GET", "/deferred-delete/restore", "restores", lambda s, _: s.restores(), list[RestoreProgress]),
        route("POST", "/deferred-delete/restore", "bring a deleted study back", _restore, RestoreProgress, body=study),
        route(
            "POST",
            "/deferred-delete/restore/cancel",
            "call a restore off",
            _cancel_restore,
            RestoreProgress,
            body=study,
        ),
        route("GET", "/deferred-delete/audit", "the last audit", lambda s, _: s.audit(), AuditState),
        route("POST", "/deferred-delete/audit", "start an audit of the storage", _audit, AuditState),
        route("POST", "/deferred-delete/restore/release", "give up what is held", _release, Released, body=study),
    ]


def _delete(service: StudyService, request: rest.Request) -> Queued:
    orthanc_ids = _identifiers(request)
    queued = service.delete(orthanc_ids)
    return Queued(
        queued,
        f"{queued} queued, {len(set(orthanc_ids)) - queued} under way already; "
        "the instances that each has when its turn comes will go, and identifiers that Orthanc does not know "
        "end in the state unknown: see GET /deferred-delete/studies",
    )


def _cancel(service: StudyService, request: rest.Request) -> list[StudyProgress]:
    cancelled = service.cancel(_identifiers(request))
    if not cancelled:
        raise rest.RefusedError(404, "none of these is being deleted: expected identifiers of deletions under way")
    chosen = set(cancelled)
    seen: set[str] = set()
    # The newest of each is the one just called off.
    return [
        each
        for each in service.deletions()
        if each.id in chosen and each.state == "cancelled" and not (each.id in seen or seen.add(each.id))  # type: ignore[func-returns-value]
    ]


def _identifiers(request: rest.Request) -> list[str]:
    identifiers: list[str] = request.json(list[str])
    if not 1 <= len(identifiers) <= _MAX_IDENTIFIERS:
        raise rest.RefusedError(400, f"body: {len(identifiers)} identifiers: expected 1 to {_MAX_IDENTIFIERS}")
    for each in identifiers:
        if not is_orthanc_id(each):
            raise rest.RefusedError(
                400,
                f"body: {each[:80]!r}: expected Orthanc identifiers of patients, studies or series, "
                "five groups of eight hexadecimal digits",
            )
    return identifiers


def _deleted(service: StudyService, _request: rest.Request) -> RestorableStudies:
    return RestorableStudies(not service.headers_waiting(), service.deleted())


def _restore(service: StudyService, request: rest.Request) -> RestoreProgress:
    study = _study(request)
    service.restore(study)
    return next(each for each in service.restores() if each.study_instance_uid == study)


def _cancel_restore(service: StudyService, request: rest.Request) -> RestoreProgress:
    study = _study(request)
    if not service.cancel_restore(study):
        raise rest.RefusedError(404, "this study is not being brought back: expected a restore under way")
    return next(each for each in service.restores() if each.study_instance_uid == study)


def _release(service: StudyService, request: rest.Request) -> Released:
    released = service.release(_study(request))
    if not released:
        raise rest.RefusedError(404, "no file of this study is held by a restore that came to its end")
    return Released(released, f"{released} files are left to be deleted")


def _audit(service: StudyService, _request: rest.Request) -> AuditState:
    if not service.start_audit():
        raise rest.RefusedError(409, "an audit is under way: expected it to end first, see GET /deferred-delete/audit")
    return service.audit()


def _study(request: rest.Request) -> str:
    study = str(request.json(RestoreRequest).study_instance_uid)
    if not _UID.fullmatch(study):
        raise rest.RefusedError(400, f"StudyInstanceUID: {study[:80]!r}: expected a DICOM UID (PS3.5 9.1)")
    return study
