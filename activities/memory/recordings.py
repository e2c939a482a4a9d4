"""Recordings that investigations were opened for: a request carries a name, only this installation the folder."""

import hashlib
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from activities.memory.tables import RECORDING
from workflows.contracts.identifiers import Digest, Tenant

PREFIX = "recording-"


class Recordings:
    """The registered recordings of one tenant."""

    def __init__(self, engine: Engine, tenant: Tenant) -> None:
        self._engine = engine
        self._tenant = tenant

    def register(self, folder: Path, manifest_sha256: Digest, *, at: datetime) -> str:
        """The name of a recording; the same manifest in the same folder has the same one."""
        text = f"{manifest_sha256}\n{folder}"
        name = PREFIX + hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]
        row = {
            "tenant": self._tenant,
            "recording_id": name,
            "folder": str(folder),
            "manifest_sha256": manifest_sha256,
            "registered_at": at,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(RECORDING).values(row).on_conflict_do_nothing())
        return name

    def folder_of(self, name: str) -> tuple[Path, Digest | None] | None:
        """Where a recording lies, and the digest that its manifest had; None when nothing is registered under `name`.

        Requests from before 0.6 name the folder, and no digest.
        """
        if not name.startswith(PREFIX):
            return Path(name), None
        query = select(RECORDING.c.folder, RECORDING.c.manifest_sha256).where(
            RECORDING.c.tenant == self._tenant, RECORDING.c.recording_id == name
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (Path(row.folder), Digest(row.manifest_sha256))
