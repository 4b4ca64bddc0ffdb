"""A stand-in of a recipient that takes packages by resumable HTTPS uploads and offers receipts; faults on demand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from qaqpa.model.identifiers import uuid7
from qaqpa.testing.certificates import CertificateAuthority
from qaqpa.testing.faults import Fault, abort_connection
from qaqpa.testing.packages import PackageFault, PackageRecipient
from qaqpa.testing.sandbox import NETWORKS

_NAME = 'attachment; filename="'
_STOP_WITHIN_S = 0.3


@dataclass(slots=True)
class _Upload:
    name: str
    size: int
    digest: str
    """`Repr-Digest` as it was announced."""
    is_complete: bool = False


class UploadRecipient(PackageRecipient):
    """`https://localhost:PORT/packages` and `/receipts`. An upload is created once for an Idempotency-Key."""

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        log: Path | None = None,
        delay: float = 0.5,
        **more: object,
    ) -> None:
        """As `PackageRecipient`. Raises UsageError when the extra `sandbox` is not installed."""
        super().__init__(port=port, directory=directory, log=log, delay=delay, **more)  # type: ignore[arg-type]
        self._authority = CertificateAuthority()
        self._uploads: dict[str, _Upload] = {}
        self._by_key: dict[str, str] = {}

    @property
    def url(self) -> str:
        """`https://localhost:PORT`."""
        return f"https://localhost:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate to trust, PEM."""
        return self.folder / "ca.pem"

    @property
    def environment(self) -> dict[str, str]:
        """What `[packages.channel]` of a gateway's configuration refers to."""
        return {
            "QAQPA_COLLECTOR_PACKAGES_URL": f"{self.url}/packages",
            "QAQPA_COLLECTOR_RECEIPTS_URL": f"{self.url}/receipts",
            "QAQPA_COLLECTOR_CA": str(self.ca_file),
            "QAQPA_COLLECTOR_NETWORKS": NETWORKS,
            "QAQPA_COLLECTOR_RECEIPT_KEY": str(self.receipt_key_file),
        }

    async def _listen(self, folder: Path, stack: AsyncExitStack) -> int:
        (folder / "ca.pem").write_bytes(self._authority.certificate)
        app = web.Application(client_max_size=0)
        app.router.add_post("/packages", self._create)
        app.router.add_route("HEAD", "/packages/{id}", self._tell)
        app.router.add_patch("/packages/{id}", self._append)
        app.router.add_delete("/packages/{id}", self._remove)
        app.router.add_get("/receipts", self._list)
        app.router.add_get("/receipts/{name}", self._fetch)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_WITHIN_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        bad = self.fault is PackageFault.CHANGED_HOST_KEY
        context = self._authority.context(Fault.WRONG_HOST_CERTIFICATE if bad else Fault.NONE)
        site = web.TCPSite(runner, "127.0.0.1", self._port, ssl_context=context)
        await site.start()
        return int(runner.addresses[0][1])

    # --- uploads -----------------------------------------------------------------------------------

    def _part(self, upload: _Upload) -> Path:
        return self.inbox / f".{upload.name}.part"

    def _offset(self, upload: _Upload) -> int:
        path = self.inbox / upload.name if upload.is_complete else self._part(upload)
        return path.stat().st_size if path.exists() else 0

    def _state(self, upload: _Upload, fault: PackageFault = PackageFault.NONE) -> dict[str, str]:
        offset = self._offset(upload)
        if fault is PackageFault.LIES_ABOUT_SIZE and upload.is_complete:
            offset -= 1
        said = {"Upload-Offset": str(offset), "Upload-Complete": "?1" if upload.is_complete else "?0"}
        if upload.is_complete:
            digest = hashlib.sha256((self.inbox / upload.name).read_bytes()).digest()
            said["Repr-Digest"] = f"sha-256=:{base64.b64encode(digest).decode()}:"
        return said

    async def _create(self, request: web.Request) -> web.Response:
        match self._take_fault():
            case PackageFault.REFUSE_LOGIN:
                self.note("login: refused", "")
                return web.Response(status=403)
            case PackageFault.REDIRECTS:
                return web.Response(status=307, headers={"Location": f"{self.url}/redirected"})
            case PackageFault.ELSEWHERE:
                return web.Response(status=201, headers={"Location": "https://elsewhere.invalid/packages/1"})
        key, name = request.headers["Idempotency-Key"], request.headers["Content-Disposition"]
        if key not in self._by_key:
            self._by_key[key] = uuid7()
            self._uploads[self._by_key[key]] = _Upload(
                name.removeprefix(_NAME).removesuffix('"'), int(request.headers["Upload-Length"]),
                request.headers["Repr-Digest"],
            )  # fmt: skip
            self.note("create", self._uploads[self._by_key[key]].name)
        upload = self._uploads[self._by_key[key]]
        headers = {"Location": f"/packages/{self._by_key[key]}"} | self._state(upload)
        return web.Response(status=201, headers=headers)

    async def _tell(self, request: web.Request) -> web.Response:
        fault, upload = self._take_fault(), self._uploads.get(request.match_info["id"])
        if upload is None:
            return web.Response(status=404)
        return web.Response(status=204, headers=self._state(upload, fault))

    async def _remove(self, request: web.Request) -> web.Response:
        upload = self._uploads.pop(request.match_info["id"], None)
        if upload is None:
            return web.Response(status=404)
        self._by_key = {key: each for key, each in self._by_key.items() if each in self._uploads}
        self._part(upload).unlink(missing_ok=True)
        self.note("remove", upload.name)
        return web.Response(status=204)

    async def _append(self, request: web.Request) -> web.StreamResponse:
        fault, upload = self._take_fault(), self._uploads.get(request.match_info["id"])
        if upload is None:
            return web.Response(status=404)
        offset, is_last = self._offset(upload), request.headers["Upload-Complete"] == "?1"
        if upload.is_complete or request.headers["Upload-Offset"] != str(offset):
            return web.Response(status=409, headers=self._state(upload))
        if is_last and fault is PackageFault.RENAME_FAILS:
            return web.Response(status=400)
        if is_last and fault is PackageFault.DROP_BEFORE_RENAME:
            return self._cut(request)
        refused = await self._store(request, upload, offset, fault)
        if refused is not None:
            return refused
        if is_last:
            announced = upload.digest
            self._part(upload).rename(self.inbox / upload.name)
            upload.is_complete = True
            self.placed(upload.name)
            if fault is PackageFault.DROP_AFTER_RENAME:
                return self._cut(request)
            if self._state(upload)["Repr-Digest"] != announced:
                self.note("place: another digest than announced", upload.name)
        return web.Response(status=204, headers=self._state(upload, fault))

    async def _store(
        self, request: web.Request, upload: _Upload, offset: int, fault: PackageFault
    ) -> web.StreamResponse | None:
        """Append the body; what is refused half-way stays."""
        descriptor = os.open(self._part(upload), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            begun = offset
            async for data in request.content.iter_chunked(64 * 1024):
                match fault:
                    case PackageFault.DISK_FULL if offset + len(data) > self.after:
                        return web.Response(status=507)
                    case PackageFault.DROP if offset - begun + len(data) > self.after:
                        return self._cut(request)
                    case PackageFault.SLOW:
                        await asyncio.sleep(self.delay)
                    case PackageFault.HANGS:
                        await asyncio.sleep(3600)
                stored = bytes([data[0] ^ 1]) + data[1:] if fault is PackageFault.CORRUPTS and offset == 0 else data
                offset += os.write(descriptor, stored)
                self.stored += len(data)
        finally:
            os.close(descriptor)
        return None

    def _cut(self, request: web.Request) -> web.StreamResponse:
        abort_connection(request)
        return web.Response(status=500)

    # --- receipts ----------------------------------------------------------------------------------

    async def _list(self, _request: web.Request) -> web.Response:
        names = sorted(path.name for path in self.outbox.iterdir() if not path.name.startswith("."))
        return web.Response(text=json.dumps({"receipts": names}), content_type="application/json")

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        path = self.outbox / Path(request.match_info["name"]).name
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)
