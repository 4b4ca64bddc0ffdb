"""Certificates of a sandbox: made on the spot by an authority of its own, and worth nothing outside of tests.

The key of the authority never touches a disk.
"""

from __future__ import annotations

import datetime as dt
import ssl

from qaqpa.errors import UsageError
from qaqpa.testing.faults import Fault


class CertificateAuthority:
    """Issues the certificates of one sandbox: a good one for localhost and 127.0.0.1, and two bad ones."""

    def __init__(self) -> None:
        try:
            import trustme  # noqa: PLC0415 - an extra; whoever makes no sandbox need not have it
        except ImportError:
            raise UsageError("a sandbox makes its own certificates: pip install 'qaqpa[sandbox]'") from None
        authority = trustme.CA(organization_name="Qaqpa sandbox")
        yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        ours = ("localhost", "127.0.0.1")
        leaves = {
            Fault.NONE: authority.issue_cert(*ours),
            Fault.EXPIRED_CERTIFICATE: authority.issue_cert(*ours, not_after=yesterday),
            Fault.WRONG_HOST_CERTIFICATE: authority.issue_cert("another-host.invalid"),
        }
        self.certificate: bytes = authority.cert_pem.bytes()
        """The certificate to trust, PEM."""
        self._contexts: dict[Fault, ssl.SSLContext] = {}
        for fault, leaf in leaves.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            leaf.configure_cert(context)
            self._contexts[fault] = context

    def context(self, fault: Fault = Fault.NONE) -> ssl.SSLContext:
        """The server context that shows the good certificate, or the bad one that `fault` names."""
        return self._contexts[fault]
