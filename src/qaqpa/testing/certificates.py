"""Certificates of a sandbox: made on the spot by an authority of its own, and worth nothing outside of tests.

The key of the authority never touches a disk.
"""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING

from qaqpa.errors import UsageError
from qaqpa.testing.faults import Fault

if TYPE_CHECKING:
    import trustme


class CertificateAuthority:
    """Issues the certificates of one sandbox: a good one for localhost and 127.0.0.1, and two bad ones."""

    def __init__(self) -> None:
        try:
            import trustme  # noqa: PLC0415 - an extra; whoever makes no sandbox need not have it
        except ImportError:
            raise UsageError("a sandbox makes its own certificates: pip install 'qaqpa[sandbox]'") from None
        self._authority = trustme.CA(organization_name="Qaqpa sandbox")
        self.certificate: bytes = self._authority.cert_pem.bytes()
        """The certificate to trust, PEM."""
        self._contexts: dict[Fault, ssl.SSLContext] = {}

    def context(self, fault: Fault = Fault.NONE) -> ssl.SSLContext:
        """The server context that shows the good certificate, or the bad one that `fault` names."""
        if fault not in self._contexts:  # made when asked for: few sandboxes ever show a bad one
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            made.minimum_version = ssl.TLSVersion.TLSv1_2
            self._leaf(fault).configure_cert(made)
            self._contexts[fault] = made
        return self._contexts[fault]

    def _leaf(self, fault: Fault) -> trustme.LeafCert:
        ours = ("localhost", "127.0.0.1")
        match fault:
            case Fault.NONE:
                return self._authority.issue_cert(*ours)
            case Fault.EXPIRED_CERTIFICATE:
                yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
                return self._authority.issue_cert(*ours, not_after=yesterday)
            case Fault.WRONG_HOST_CERTIFICATE:
                return self._authority.issue_cert("another-host.invalid")
        raise KeyError(fault)
