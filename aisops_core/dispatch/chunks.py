"""Results above the inline limit: their pieces kept until the JobResult arrives, then put together and checked."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select

from aisops_core.storage.hot import HotStatement
from aisops_core.storage.schema import result_chunks
from aisops_protocol.limits import RESULT_CHUNK_BYTES, RESULT_CHUNKS
from aisops_protocol.messages import ResultChunk

_NAMES: Final = tuple(result_chunks.c.keys())
_INSERT: Final = HotStatement(insert(result_chunks), _NAMES)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A whole output, or None when pieces are missing or do not have the SHA-256 they were sent with."""

    output: bytes | None


def keep(connection: Connection, tenant_id: str, pieces: Sequence[ResultChunk]) -> None:
    """Store pieces; one that is there already, or lies outside the limits (64 pieces of 256 KiB), is passed over."""
    sound = {
        (piece.job_id, piece.lease_id, piece.index): piece
        for piece in pieces
        if 0 <= piece.index < piece.count <= RESULT_CHUNKS and len(piece.data) <= RESULT_CHUNK_BYTES
    }
    if not sound:
        return
    c = result_chunks.c
    known = {
        (job_id, bytes(lease_id), index)
        for job_id, lease_id, index in connection.execute(
            select(c.job_id, c.lease_id, c.chunk_index).where(
                c.tenant_id == tenant_id, c.job_id.in_(list({job_id for job_id, _, _ in sound}))
            )
        )
    }
    rows = [
        (tenant_id, piece.job_id, piece.lease_id, piece.index, piece.count, piece.data, piece.sha256)
        for key, piece in sound.items()
        if key not in known
    ]
    _INSERT.many(connection, rows)


def assemble(
    connection: Connection, tenant_id: str, job_ids: Collection[str], leases: Collection[bytes]
) -> dict[bytes, Assembled]:
    """The outputs sent in pieces under these leases, by lease; a lease without pieces is left out."""
    c = result_chunks.c
    query = (
        select(c.lease_id, c.chunk_count, c.data, c.sha256)
        .where(c.tenant_id == tenant_id, c.job_id.in_(list(job_ids)), c.lease_id.in_(list(leases)))
        .order_by(c.lease_id, c.chunk_index)
    )
    pieces: dict[bytes, list[tuple[int, bytes, bytes]]] = {}
    for lease_id, count, data, digest in connection.execute(query):
        pieces.setdefault(bytes(lease_id), []).append((count, data, digest))
    return {lease_id: _join(parts) for lease_id, parts in pieces.items()}


def _join(parts: Sequence[tuple[int, bytes, bytes]]) -> Assembled:
    output = b"".join(data for _, data, _ in parts)
    announced = next((digest for _, _, digest in reversed(parts) if digest), b"")
    complete = all(count == len(parts) for count, _, _ in parts)
    intact = hmac.compare_digest(hashlib.sha256(output).digest(), announced) if announced else True
    return Assembled(output if complete and intact else None)
