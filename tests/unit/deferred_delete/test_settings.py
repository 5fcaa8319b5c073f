"""The two sections of orthanc.json."""

import msgspec
import pytest

from deferred_delete import DelayedDeletionSettings, Settings


def test_keys_are_spelt_as_in_orthanc() -> None:
    assert [field.encode_name for field in msgspec.structs.fields(Settings)] == [
        "Enable",
        "Path",
        "GracePeriod",
        "ThrottleDelayMs",
        "FilesPerSecond",
        "MegabytesPerSecond",
        "Workers",
        "Schedule",
        "MinimumFreeDiskPercent",
        "BatchSize",
        "RetryMin",
        "RetryMax",
        "Durability",
        "SyncHeaders",
        "BusyTimeoutMs",
    ]


def test_every_key_describes_itself() -> None:
    for section in (Settings, DelayedDeletionSettings):
        schema = msgspec.json.schema(section)["$defs"][section.__name__]
        assert all(key["description"] for key in schema["properties"].values())


def test_an_empty_section_is_on_with_defaults() -> None:
    settings = msgspec.convert({}, Settings)
    assert settings.enable
    assert settings.grace_ms == 60_000
    assert settings.durability == "process"


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"GracePeriod": -1}, r"GracePeriod"),  # below the bound
        ({"GracePeriod": "1m"}, r"GracePeriod"),  # wrong type
        ({"GracePeriode": 1}, r"GracePeriode"),  # unknown key
        ({"grace_period": 1}, r"grace_period"),  # our spelling is not Orthanc's
        ({"BatchSize": 0}, r"BatchSize"),
        ({"Durability": "none"}, r"Durability|none"),
        ({"Workers": 0}, r"Workers"),
        ({"MinimumFreeDiskPercent": 100}, r"MinimumFreeDiskPercent"),
        ({"Schedule": {"Mon": ["0-6"]}}, r"Schedule.Mon: unknown day: expected one of Monday, Tuesday"),
        ({"Schedule": {"Monday": ["20"]}}, r"Schedule.Monday: '20': expected two hours"),
        ({"Schedule": {"Monday": ["20-25"]}}, r"expected 0 <= from < to <= 24"),
        ({"Schedule": {"Monday": ["22-6"]}}, r"a night is two periods, one for each day"),
        ({"Schedule": {"Monday": "20-24"}}, r"Schedule"),
        ({"RetryMin": 10, "RetryMax": 5}, r"RetryMin is 10 s: expected at most RetryMax, 5 s"),
    ],
)
def test_a_bad_value_is_refused_by_name(section: dict[str, object], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(section, Settings)


def test_the_cpp_plugins_section_means_no_grace_and_a_ledger_beside_its_database() -> None:
    theirs = msgspec.convert({"Enable": True, "ThrottleDelayMs": 5, "Path": "/var/lib/p.db"}, DelayedDeletionSettings)
    ours = theirs.as_settings()
    assert (ours.enable, ours.grace_period, ours.throttle_delay_ms) == (True, 0, 5)
    assert ours.path == "/var/lib/p.db.deferred"
    assert msgspec.convert({"Enable": False}, DelayedDeletionSettings).as_settings() == Settings(
        enable=False, grace_period=0
    )
