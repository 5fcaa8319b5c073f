"""A C-STORE SCU of pynetdicom with one association: `python -m bench.pynetdicom_sender HOST PORT FILE...`.

Prints "ready" when the files are read, and sends when it reads "go", so that only sending is measured.
"""

from __future__ import annotations

import sys

from pydicom import dcmread
from pynetdicom import AE


def main() -> int:
    """Sends all files; 1 where the association or a store fails."""
    host, port, *paths = sys.argv[1:]
    datasets = [dcmread(path) for path in paths]
    ae = AE(ae_title="PYNETDICOM")
    for sop_class, syntax in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}:
        ae.add_requested_context(sop_class, syntax)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    association = ae.associate(host, int(port), ae_title="ORTHANC")
    if not association.is_established:
        return 1
    statuses = [association.send_c_store(one) for one in datasets]
    association.release()
    return 0 if all("Status" in status and status.Status == 0 for status in statuses) else 1


if __name__ == "__main__":
    sys.exit(main())
